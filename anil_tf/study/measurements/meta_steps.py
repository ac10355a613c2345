"""P5 and P7: how many meta-steps it takes, and where they lead, as the inner loop grows longer.

Plain gradient descent on the mean query loss of a few fixed tasks, with one outer step size for all N: what theory
calls full batch. Nothing is sampled, so the loss needs no smoothing, and K(eps), the first meta-step below a loss, is
exact. The inner step size is a multiple of 1/L, with L in closed form for a linear head with a given l2 on the initial
features, whatever the head is: so P7's two-layer head has the same alpha as P5's linear one, as a reviewer of the paper
asked.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from anil_tf.config.outer_loop import OuterLoop
from anil_tf.study.measurements.constants import head_constants
from anil_tf.study.measurements.frozen_point import frozen_point
from anil_tf.study.training import checkpoint_steps
from anil_tf.training import compile_learner, meta_train, optimizers

# Losses to reach, as shares of chance, log(ways): from the easiest to the hardest.
SHARES = tuple(round(1 - 0.02 * n, 2) for n in range(1, 50))


def run(settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Descends from the initial weights.

    Args:
        settings: those of `frozen_point`, prediction ("P5" or "P7"), inner_steps (N), step (c), schedule ("fixed":
            alpha = c/L; "falling": c/(L N)), reference_l2 (the lambda of the linear head that L is of),
            outer_step_size, meta_steps (K), checkpoints.

    Returns:
        Rows of two records: "curve", one per checkpoint with meta_step and loss (nats), missing once it is not finite;
        and "reach", one per loss of `SHARES` with share and meta_step, the first at which the loss is there, or
        missing. alpha and contraction_power, q^N, in each.
    """
    point = frozen_point(settings, dtype="float32")
    steps = settings["inner_steps"]
    linear = {**settings, "head": "linear", "inner_l2": settings["reference_l2"]}
    smoothness = head_constants(frozen_point(linear, dtype="float32")).smoothness
    step_size = settings["step"] / smoothness
    step_size /= steps if settings["schedule"] == "falling" else 1
    learner = point.learner(inner_steps=steps, inner_step_size=step_size)
    size = settings["outer_step_size"]
    descent = OuterLoop(optimizer="sgd", outer_step_size_body=size, outer_step_size_head=size)
    compile_learner(learner, optimizers.build(learner, descent))
    batches = itertools.repeat((point.inputs, point.query_labels))
    (end,) = meta_train(learner, batches, evaluate_at=[settings["meta_steps"] + 1])
    losses = end.losses + [math.nan] * (settings["meta_steps"] + 1 - len(end.losses))
    shared = {"alpha": step_size, "contraction_power": (1.0 - step_size * point.l2) ** steps}
    chance = math.log(settings["ways"])
    rows: list[dict[str, Any]] = [
        {"record": "curve", "meta_step": k, "loss": losses[k]}
        for k in checkpoint_steps(settings["meta_steps"], settings["checkpoints"])
    ]
    rows += [
        {"record": "reach", "share": share, "meta_step": first_below(losses, share * chance)}
        for share in SHARES
    ]
    return [row | shared for row in rows]


def first_below(losses: list[float], threshold: float) -> float:
    """The first place at which the loss is at the threshold or below; nan if there is none."""
    below = np.flatnonzero(np.asarray(losses) <= threshold)
    return float(below[0]) if len(below) else math.nan
