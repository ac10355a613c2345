"""P8's runner: the rows that it makes, each beside its own bound."""

import pytest

from anil_tf.study.measurements import sampling
from tests.study.measurements.settings import SETTINGS


@pytest.mark.slow
def test_rows_stay_within_bounds_that_fall_as_one_over_b():
    settings = {"most_inner_steps": 1, "largest_batch": 2, "draws": 4}
    rows = sampling.run(SETTINGS | settings)
    assert [(row["block"], row["batch"]) for row in rows] == [
        ("head", 1),
        ("body", 1),
        ("head", 2),
        ("body", 2),
    ]
    assert all(0 < row["measured"] < row["bound"] for row in rows)
    for one, two in zip(rows[:2], rows[2:], strict=True):
        assert one["bound"] == pytest.approx(2 * two["bound"])
