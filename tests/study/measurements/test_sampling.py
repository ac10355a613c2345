"""P8's runner: the rows that it makes, each beside its own bound."""

import dataclasses

import pytest

from anil_tf import build
from anil_tf.study.measurements import constants, sampling
from anil_tf.study.measurements.frozen_point import frozen_point
from anil_tf.study.settings import training_config
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


def test_the_closed_constants_are_of_the_very_tasks_drawn():
    point = frozen_point(SETTINGS)
    drawn = build.make_tasks(training_config(SETTINGS), "train", meta_batch_size=2, seed=7)
    found = sampling.closed_constants(point, [drawn], draws=3)
    single = []
    for step in range(3):
        inputs, labels = drawn.batch(step)
        one = dataclasses.replace(point, inputs=inputs, query_labels=labels)
        single.append(constants.head_constants(one))
    for name in ("smoothness", "gradient_bound"):
        values = [getattr(one, name) for one in single]
        assert getattr(found, name) == max(values) > min(values)


def test_seeds_of_sizes_and_cells_are_their_own():
    cells = [SETTINGS | {"seed": seed} for seed in range(4)]
    seeds = {
        sampling._tasks(one, steps, batch).seed
        for one in cells
        for steps in (1, 4, 16)
        for batch in (1, 2, 4, 8)
    }
    assert len(seeds) == 48
    assert min(seeds) > 1000 + max(one["seed"] for one in cells)
