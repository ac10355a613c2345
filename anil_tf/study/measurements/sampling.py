"""P8: how much the meta-gradient of B random tasks scatters.

The variance of whole vectors, E |g_B - E g|^2, is V/B with V that of one task's gradient, and V is at most the square
of the bound on the norm: q^{2N} M^2 for the head, M^2 (1 + kappa (1 - q^N))^2 for the body. How it is measured, on
meta-batches drawn afresh for each N and B, is in `gradient_variance.py`.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

from anil_tf import build
from anil_tf.episodes import Tasks
from anil_tf.study.measurements import constants, gradient_variance
from anil_tf.study.measurements.frozen_point import FrozenPoint, doubling, frozen_point
from anil_tf.study.settings import training_config
from anil_tf.theory.bounds import Constants, StronglyConvex


def run(settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Measures the variance at the initial weights, at alpha = 1/L.

    Args:
        settings: those of `frozen_point` with a linear head, meta_batch_size being the tasks that the constants of the
            body are sampled on; most_inner_steps, largest_batch, and draws, meta-batches of each size.

    Returns:
        Rows with prediction, block ("head", "body"), inner_steps (1, 4, 16, ...), batch (B = 1, 2, 4, ...), measured
        (the variance), bound, alpha and contraction. The L and M of the head's bound are closed forms of the features
        of the very tasks drawn, all of them; the constants of the body's are met at sampled points of other tasks, and
        its bound is an estimate.
    """
    point = frozen_point(settings)
    most, draws = settings["most_inner_steps"], settings["draws"]
    drawn = {
        (steps, batch): _tasks(settings, steps, batch)
        for steps in doubling(most)[::2]
        for batch in doubling(settings["largest_batch"])
    }
    closed = closed_constants(point, drawn.values(), draws)
    sampled, step_size = constants.at_inverse_smoothness(point, closed, steps=most)
    rows = []
    for (steps, batch), tasks in drawn.items():
        learner = point.learner(inner_steps=steps, inner_step_size=step_size)
        bounds = {
            "head": StronglyConvex(closed, step_size, steps).head_gradient ** 2,
            "body": StronglyConvex(sampled, step_size, steps).body_gradient ** 2,
        }
        spreads = gradient_variance.measure(learner, tasks, draws)
        rows += [
            {"prediction": "P8", "block": block, "inner_steps": steps, "batch": batch}
            | {"measured": spread["variance"], "bound": bounds[block] / batch}
            | {"alpha": step_size, "contraction": 1.0 - step_size * point.l2}
            for block, spread in spreads.items()
        ]
    return rows


def closed_constants(point: FrozenPoint, several: Iterable[Tasks], draws: int) -> Constants:
    """`head_constants` of the body and head of a point on the first `draws` meta-batches of each of several `Tasks`."""

    def points() -> Iterator[FrozenPoint]:
        for tasks in several:
            for step in range(draws):
                inputs, labels = tasks.batch(step)
                yield dataclasses.replace(point, inputs=inputs, query_labels=labels)

    return constants.worst(map(constants.head_constants, points()))


def _tasks(settings: dict[str, Any], steps: int, batch: int) -> Tasks:
    """Meta-batches of B tasks for one N, which share no seed with those for another N or B, or of another cell."""
    seed = (settings["seed"] + 1) * 2**32 + zlib.crc32(f"P8 {steps} {batch}".encode())
    config = training_config(settings, meta_batch_size=batch)
    return build.make_tasks(config, "train", seed=seed)
