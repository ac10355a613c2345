"""P8: how much the meta-gradient of B random tasks scatters.

The variance of whole vectors, E |g_B - E g|^2, is V/B with V that of one task's gradient, and V is at most the square
of the bound on the norm: q^{2N} M^2 for the head, M^2 (1 + kappa (1 - q^N))^2 for the body. How it is measured, on
meta-batches drawn afresh for each B, is in `gradient_variance.py`.
"""

from __future__ import annotations

from typing import Any

from anil_tf.study.learners import make_tasks
from anil_tf.study.measurements import gradient_variance
from anil_tf.study.measurements.constants import head_constants, sampled_constants
from anil_tf.study.measurements.frozen_point import doubling, frozen_point
from anil_tf.theory.bounds import StronglyConvex

_SAMPLED_TASKS = 1


def run(settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Measures the variance at the initial weights, at alpha = 1/L.

    Args:
        settings: those of `frozen_point` with a linear head, meta_batch_size being the tasks that the constants are
            taken from; most_inner_steps, largest_batch, and draws, meta-batches of each size.

    Returns:
        Rows with prediction, block ("head", "body"), inner_steps (1, 4, 16, ...), batch (B = 1, 2, 4, ...), measured
        (the variance), bound, alpha and contraction. The constants of the head's bound are closed forms of the features
        of all those tasks; those of the body's are met at sampled points of one, and so bounds from below.
    """
    point = frozen_point(settings)
    tasks = make_tasks(settings, "train", seed=settings["seed"] + 1)
    closed = head_constants(point)
    sampled = sampled_constants(point.first(_SAMPLED_TASKS), steps=4, step_size=0.1)
    step_size = 1.0 / max(closed.smoothness, sampled.smoothness)
    rows = []
    for steps in doubling(settings["most_inner_steps"])[::2]:
        learner = point.learner(inner_steps=steps, inner_step_size=step_size)
        gradient = gradient_variance.meta_gradient(learner)
        bounds = {
            "head": StronglyConvex(closed, step_size, steps).head_gradient ** 2,
            "body": StronglyConvex(sampled, step_size, steps).body_gradient ** 2,
        }
        for batch in doubling(settings["largest_batch"]):
            drawn = tasks.replace(meta_batch_size=batch, seed=tasks.seed + 1000 * batch)
            spreads = gradient_variance.measure(gradient, drawn, settings["draws"])
            rows += [
                {"prediction": "P8", "block": block, "inner_steps": steps, "batch": batch}
                | {"measured": spread.variance, "bound": bounds[block] / batch}
                | {"alpha": step_size, "contraction": 1.0 - step_size * point.l2}
                for block, (spread, _) in spreads.items()
            ]
    return rows
