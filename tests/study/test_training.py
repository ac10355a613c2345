"""One training run of the study, on made data."""

import math

import numpy as np
import pytest

from anil_tf.study import training

MEASURES = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")


def _curve(rows, *names):
    return np.array([[row[name] for name in names or MEASURES] for row in rows])


def test_a_run_learns_and_is_repeated_exactly(tiny):
    settings = tiny | {"meta_steps": 40, "inner_steps": 10, "inner_step_size": "1/L"}
    rows = training.run(settings)
    assert [row["meta_step"] for row in rows] == [0, 10, 40]
    assert rows[-1]["train_loss"] < 0.9 * rows[0]["train_loss"]
    assert rows[-1]["train_accuracy"] > 0.5 > 1 / tiny["ways"]
    assert math.isnan(rows[0]["batch_loss"]) and 0 < rows[1]["batch_loss"] < 5
    assert not any(row["diverged"] for row in rows)
    again = training.run(settings)
    np.testing.assert_allclose(_curve(again), _curve(rows), rtol=1e-3)


def test_runs_of_a_seed_share_weights_and_tasks_whatever_is_compared(tiny):
    """With a step size of next to nothing, nothing that is compared makes a difference."""
    still = tiny | {"inner_step_size": 1e-12, "inner_l2": 0.0}
    losses = ("train_loss", "test_loss")
    rows = _curve(training.run(still), *losses)
    for change in ({"inner_steps": 7}, {"inner_l2": 0.3}, {"adapted_layers": 2}):
        changed = _curve(training.run(still | change), *losses)
        np.testing.assert_allclose(changed, rows, rtol=1e-4)
    other = _curve(training.run(still | {"seed": 1}), *losses)
    assert np.abs(other - rows).max() > 1e-3


def test_tasks_of_the_evaluation_do_not_depend_on_the_meta_batch(tiny):
    runs = [training.run(tiny | {"meta_batch_size": size}) for size in (1, 3)]
    first, second = map(_curve, runs)
    np.testing.assert_allclose(first[0], second[0], rtol=1e-5)
    assert not np.allclose(first[-1], second[-1])


def test_cells_of_a_process_share_tasks_and_curvature_that_are_the_same(tiny):
    drawn, measured = training._evaluation_batches, training._curvature_at_start
    drawn.cache_clear(), measured.cache_clear()
    rule = tiny | {"meta_steps": 2, "inner_step_size": "1/L"}
    first = training.run(rule)[0]
    for change in ({"inner_steps": 7}, {"meta_batch_size": 1}, {"differentiation": "unrolled"}):
        assert training.run(rule | change)[0]["alpha"] == first["alpha"]
    assert drawn.cache_info().misses == 2, "training and test classes"
    assert measured.cache_info().misses == 1
    by_change = [{"seed": 1}, {"inner_l2": 0.1}, {"filters": 4}, {"shots": 1}]
    found = {training.run(rule | change)[0]["smoothness_max"] for change in by_change}
    assert len(found | {first["smoothness_max"]}) == 5
    assert drawn.cache_info().misses == 6, "two more for the other seed, two for the other shots"


def test_step_sizes_by_rule_come_from_the_landscape_at_the_start(tiny):
    by_smoothness = training.run(tiny | {"inner_step_size": "1/L", "inner_steps": 4})[0]
    smoothness = by_smoothness["smoothness_max"]
    assert by_smoothness["strong_convexity"] == pytest.approx(0.5, rel=1e-5)
    assert smoothness >= by_smoothness["smoothness_median"] > 0.5
    assert by_smoothness["alpha"] == pytest.approx(1 / smoothness)
    contraction = 1 - 0.5 / smoothness
    assert by_smoothness["contraction_power"] == pytest.approx(contraction**4, rel=1e-5)
    by_paper = training.run(tiny | {"inner_step_size": "mu/L^2"})[0]
    assert by_paper["smoothness_max"] == pytest.approx(smoothness), "whatever N is"
    assert by_paper["alpha"] == pytest.approx(0.5 / smoothness**2, rel=1e-5)


def test_a_given_step_size_is_taken_and_a_nonlinear_head_left_unmeasured(tiny):
    rows = training.run(tiny | {"adapted_layers": 2, "evaluation_validation_tasks": 0})
    assert rows[0]["alpha"] == 0.1
    for name in ("smoothness_max", "contraction_power", "smoothness"):
        assert all(math.isnan(row[name]) for row in rows)


def test_the_curvature_is_measured_again_where_the_run_ends(tiny):
    rows = training.run(tiny | {"outer_step_size": 0.1})
    assert rows[0]["smoothness"] == rows[0]["smoothness_max"] == rows[-1]["smoothness_max"]
    assert math.isnan(rows[1]["smoothness"])
    assert rows[-1]["smoothness"] > 0.5 and rows[-1]["smoothness"] != rows[0]["smoothness"]


def test_an_extra_checkpoint_changes_nothing_else(tiny):
    rows = training.run(tiny)
    more = training.run(tiny | {"extra_checkpoint": 3})
    assert [row["meta_step"] for row in more] == [0, 1, 3, 4]
    np.testing.assert_allclose(_curve(more)[[0, 1, 3]], _curve(rows), rtol=1e-5)
    assert len(training.run(tiny | {"extra_checkpoint": 4})) == len(rows)


def test_cells_with_other_queries_can_be_measured_alike(tiny):
    """A learner that is never trained answers the same, if it is asked the same."""
    still = tiny | {"outer_step_size": 1e-12}
    few, many = (
        _curve(training.run(still | {"queries": queries, "evaluation_queries": 3}))
        for queries in (2, 3)
    )
    np.testing.assert_allclose(few, many, rtol=1e-4)
    assert not np.allclose(many, _curve(training.run(still | {"queries": 2})), rtol=1e-4)


def test_a_run_that_diverges_ends_and_says_so(tiny):
    rows = training.run(tiny | {"optimizer": "sgd", "outer_step_size": 1e30})
    assert [row["meta_step"] for row in rows] == [0, 1, 4]
    assert [row["diverged"] for row in rows] == [False, True, True]
    assert np.isfinite(_curve(rows[:1])).all() and np.isnan(_curve(rows[-1:])).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"inner_step_size": "mu/L^2", "inner_l2": 0.0}, "inner_l2 > 0"),
        ({"body": "resnet"}, "conv4"),
    ],
    ids=str,
)
def test_what_cannot_be_run_is_named(tiny, change, words):
    with pytest.raises(ValueError, match=words):
        training.run(tiny | change)
