"""P10: Proposition 1's recursion and the unrolled computation give the same meta-gradient.

The first is what the library trains with, the second what tapes make of N written-out steps; in exact arithmetic they
are equal, whatever the head, the body and N.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from anil_tf.study.cell import Row
from anil_tf.study.measurements.frozen_point import doubling, frozen_point
from anil_tf.study.measurements.meta_gradient import blocks_of, meta_gradient


def run(settings: dict[str, Any]) -> list[Row]:
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
        gradients = []
        for engine in ("explicit", "unrolled"):
            learner = point.learner(
                inner_steps=steps,
                inner_step_size=settings["inner_step_size"],
                differentiation=engine,
            )
            gradients.append(
                meta_gradient(learner, point.inputs, point.query_labels, blocks_of(learner))
            )
        explicit, unrolled = gradients
        rows += [
            {"prediction": "P10", "part": part, "inner_steps": steps}
            | {"measured": relative_difference(explicit[part].numpy(), unrolled[part].numpy())}
            for part in explicit
        ]
    return rows


def relative_difference(one: np.ndarray, other: np.ndarray) -> float:
    """|one - other| / |other|, Euclidean norms."""
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))
