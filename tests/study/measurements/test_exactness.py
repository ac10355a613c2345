"""P10's runner."""

import numpy as np
import pytest

from anil_tf.study.measurements import exactness
from tests.study.measurements.settings import SETTINGS


@pytest.mark.parametrize(
    "head",
    ["linear", *(pytest.param(head, marks=pytest.mark.slow) for head in ("two_layer", "all"))],
)
def test_both_computations_agree(head):
    settings = SETTINGS | {"head": head, "most_inner_steps": 2, "inner_step_size": 0.1}
    rows = exactness.run(settings)
    parts = ["head"] if head == "all" else ["head", "body"]
    assert [(row["part"], row["inner_steps"]) for row in rows] == [
        (part, steps) for steps in (1, 2) for part in parts
    ]
    assert all(row["measured"] < 1e-12 for row in rows)


def test_a_difference_is_seen():
    one = np.array([3.0, 4.0])
    assert exactness.relative_difference(one, one) == 0
    assert exactness.relative_difference(1.1 * one, one) == pytest.approx(0.1)
