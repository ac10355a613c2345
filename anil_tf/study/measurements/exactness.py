"""P10: Proposition 1's recursion and the unrolled computation give the same meta-gradient.

The first is what the library trains with, the second what tapes make of N written-out steps; in exact arithmetic they
are equal, whatever the head, the body and N.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from anil_tf import MetaLearner
from anil_tf.adaptation.losses import LOSSES
from anil_tf.study.measurements.frozen_point import FrozenPoint, doubling, frozen_point


def run(settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Compares the two at N = 1, 2, 4, ...

    Args:
        settings: those of `frozen_point`, most_inner_steps, and inner_step_size.

    Returns:
        Rows with prediction, part ("head", "body"), inner_steps, and measured: the norm of the difference of the two
        gradients over the norm of the unrolled one. MAML, whose body is empty, has rows for the head only.
    """
    point = frozen_point(settings)
    rows = []
    for steps in doubling(settings["most_inner_steps"]):
        explicit, unrolled = (
            _gradients(
                point.learner(
                    inner_steps=steps,
                    inner_step_size=settings["inner_step_size"],
                    differentiation=differentiation,
                ),
                point,
            )
            for differentiation in ("explicit", "unrolled")
        )
        rows += [
            {"prediction": "P10", "part": part, "inner_steps": steps}
            | {"measured": relative_difference(explicit[part], unrolled[part])}
            for part in explicit
        ]
    return rows


def relative_difference(one: np.ndarray, other: np.ndarray) -> float:
    """|one - other| / |other|, Euclidean norms."""
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))


def _gradients(learner: MetaLearner, point: FrozenPoint) -> dict[str, np.ndarray]:
    """The meta-gradient by head and by body, all entries in one vector each."""
    parts = {"head": learner.head_variables, "body": learner.body_variables}
    parts = {part: [v.value for v in variables] for part, variables in parts.items() if variables}
    with tf.GradientTape() as tape:
        logits = learner(point.inputs, training=False)
        loss = LOSSES["cross_entropy"](logits, point.query_labels)
    gradients = tape.gradient(loss, parts)
    return {
        part: np.concatenate([np.ravel(gradient) for gradient in of_part])
        for part, of_part in gradients.items()
    }
