"""Experiment 8 on made results: fits must find what was built in, and verdicts must follow."""

import dataclasses
import math

import numpy as np
import pytest

from anil_tf.study.claims import INCONCLUSIVE, NOT_SUPPORTED, SUPPORTED, Above, Below
from anil_tf.study.experiment import Data
from anil_tf.study.experiments import complexity, strongly_convex
from anil_tf.study.experiments.complexity import EXPERIMENT, Costs
from anil_tf.study.scale import SCALES
from anil_tf.study.sweeps import Reach
from tests.study.experiments.made_results import learning, table, tables, verdicts

SMALL = SCALES["small"]
META_STEPS, EVALUATIONS = (
    f"{key}: {strongly_convex.STRONG.label}" for key in ("meta_steps", "evaluations")
)
STEPS = np.array([1, 3, 5, 7, 10, 20])


def cells(scale=SMALL):
    return EXPERIMENT.cells(scale, Data("fc100"))


def saturating(steps):
    """1/rate falls from 280 to 30 meta-steps."""
    return 1 / (30 + 250 * 0.6 ** (steps - 1))


def flat(steps):
    return 0.008


def costs(meta_steps, reached=None, *, fitted=None, time=(1.0, 0.0), steps=STEPS):
    """The costs of runs that were made; by their own fit unless one is given."""
    reached = np.full(meta_steps.shape, True) if reached is None else reached
    reach = Reach(steps, meta_steps, reached)
    numbers = np.arange(steps.min(), steps.max() + 1)
    found = complexity._fit_all(reach, numbers) if fitted is None else fitted
    return Costs(None, 1.0, reach, numbers, found, time)


def verdict(found):
    """Of a claim that the seconds have their minimum at a moderate N."""
    measured = found.depth("seconds")
    given = Above(complexity.WORTH_IT).verdict([measured.shown])
    return given if given in measured.decides else INCONCLUSIVE


def test_the_fit_finds_the_curve_and_its_minimum():
    meta_steps = np.stack([level * (20 + 200 * 0.7 ** (STEPS - 1)) for level in (1.0, 1.2, 0.9)])
    found = costs(meta_steps, time=(0.1, 0.02))
    true = 20 + 200 * 0.7 ** (found.numbers - 1)
    cost = true * (0.1 + 0.02 * found.numbers)
    np.testing.assert_allclose(found.fitted / meta_steps[:, :1] * 220, [true] * 3, rtol=1e-3)
    assert found.best("seconds") == str(found.numbers[cost.argmin()])
    depth = min(cost[0], cost[-1]) / cost.min()
    assert found.depth("seconds").shown.center == pytest.approx(depth, rel=1e-3)
    assert verdict(found) == SUPPORTED


def test_the_moderate_n_is_chosen_on_the_other_seeds():
    """Each seed has a dip of its own: chosen on itself it would save 30 %, chosen on the others it saves nothing."""
    fitted = np.full([3, 5], 100.0) * np.array([[1.0], [1.01], [0.99]])
    fitted[range(3), [1, 2, 3]] *= 0.7
    found = costs(fitted, fitted=fitted, steps=np.arange(1, 6))
    assert found.best("seconds") == "2 to 4"
    assert found.depth("seconds").shown.center == pytest.approx(1.0, rel=1e-6)
    assert verdict(found) == INCONCLUSIVE


def test_a_run_that_never_gets_there_bounds_the_fit_from_below_alone():
    true = 20 + 400 * 0.7 ** (STEPS - 1)
    reached = true <= 300
    (fitted,) = costs(np.minimum(true, 300.0)[None], reached[None]).fitted
    assert not reached[0] and fitted[0] >= 299
    np.testing.assert_allclose(fitted[STEPS[1:] - 1], true[1:], rtol=0.02)


@pytest.mark.parametrize(
    ("length", "expected"), [(500, SUPPORTED), (300, SUPPORTED), (80, INCONCLUSIVE)]
)
def test_an_end_beyond_its_run_can_support_but_not_refute(length, expected):
    """For 80 meta-steps N = 1 costs less than the best, but it took more."""
    meta_steps = np.stack([one * (30 + 400 * 0.5 ** (STEPS - 1)) for one in (1.0, 1.01, 0.99)])
    found = costs(np.minimum(meta_steps, length), meta_steps <= length, time=(1.0, 0.3))
    assert verdict(found) == expected


@pytest.mark.parametrize(("lost", "expected"), [([], SUPPORTED), ([2, 3], INCONCLUSIVE)])
def test_a_moderate_n_counts_only_where_the_runs_next_to_it_got_there(lost, expected):
    meta_steps = np.stack([one * (30 + 400 * 0.5 ** (STEPS - 1)) for one in (1.0, 1.01, 0.99)])
    reached = np.full(meta_steps.shape, True)
    reached[0, lost] = False  # N = 5 and 7
    fitted = costs(meta_steps).fitted
    assert verdict(costs(meta_steps, reached, fitted=fitted, time=(0.0, 1.0))) == expected


@pytest.mark.parametrize(
    ("falls", "lost", "expected"),
    [
        (True, (), SUPPORTED),
        (True, (0, 2), SUPPORTED),
        (True, (3,), INCONCLUSIVE),
        (True, (5,), INCONCLUSIVE),
        (False, (), NOT_SUPPORTED),
        (False, (0,), INCONCLUSIVE),
    ],
)
def test_the_fall_needs_every_n_above_the_median(falls, lost, expected, monkeypatch):
    meta_steps = 100 * np.array([[1.0], [1.02], [0.97]]) * STEPS ** (-0.5 if falls else 0.5)
    meta_steps[:, 0] *= [1.0, 1.05, 1.01]
    reached = np.full(meta_steps.shape, True)
    reached[1, list(lost)] = False
    monkeypatch.setattr(complexity, "costs", lambda rows: costs(meta_steps, reached))
    measured = complexity.fall(None)
    given = Below(0.0).verdict([measured.shown])
    assert (given if given in measured.decides else INCONCLUSIVE) == expected


def test_too_few_n_are_not_fitted_and_times_that_fall_are_flat():
    assert costs(np.ones([2, 3]), steps=STEPS[:3]).fitted is None
    assert costs(np.full([2, 6], np.nan), np.full([2, 6], False)).fitted is None
    assert complexity._line(STEPS, 0.2 + 0.01 * STEPS) == pytest.approx((0.2, 0.01))
    assert complexity._line(STEPS, 0.2 - 0.001 * STEPS)[1] == 0
    assert complexity._line(STEPS, np.full(6, np.nan)) is None


def test_evaluations_are_the_counted_ones():
    np.testing.assert_array_equal(complexity.evaluations(STEPS), 3 * STEPS + 1)


def test_a_moderate_n_is_found_where_inner_steps_cost():
    frame = table(cells(), learning(saturating), seconds=lambda n: 0.1 + 0.02 * n)
    found = verdicts(EXPERIMENT, frame)

    assert found[META_STEPS] == found[EVALUATIONS] == SUPPORTED


def test_n_that_makes_no_difference_costs_least_at_the_end():
    found = verdicts(EXPERIMENT, table(cells(), learning(flat, noise=0.0)))

    assert found[EVALUATIONS] == NOT_SUPPORTED
    assert found[META_STEPS] != SUPPORTED


def test_more_meta_steps_with_larger_n_are_not_supported():
    frame = table(cells(), learning(lambda n: 0.02 / (1 + math.log2(n))))

    assert verdicts(EXPERIMENT, frame)[META_STEPS] == NOT_SUPPORTED


def test_one_seed_or_nothing_learned_is_inconclusive():
    one_seed = table(cells(dataclasses.replace(SMALL, seeds=(0,))), learning(saturating))
    nothing = table(cells(), lambda settings, step: math.log(5))
    diverged = table(cells(), lambda settings, step: math.nan if step else 1.6)

    for frame in (one_seed, nothing, diverged, nothing.head(0)):
        assert set(verdicts(EXPERIMENT, frame).values()) == {INCONCLUSIVE}


@pytest.mark.parametrize("name", SCALES)
def test_it_adds_no_cells_to_the_first_experiment(name):
    first = strongly_convex.EXPERIMENT.cells(SCALES[name], Data("fc100"))
    assert set(cells(SCALES[name])) <= set(first)


def test_the_table_has_the_time_of_a_meta_step_and_the_best_n_of_either_cost():
    frame = table(cells(), learning(saturating), seconds=lambda n: 0.1 + 0.02 * n)
    row = tables(EXPERIMENT, frame)[0].iloc[0]
    assert (row["a (ms)"], row["b (ms)"]) == (pytest.approx(100), pytest.approx(20))
    in_evaluations, in_seconds = (
        int(row[f"best N, {cost}"].split(" to ")[0]) for cost in ("evaluations", "seconds")
    )
    assert 1 < in_evaluations <= in_seconds < 20


def test_two_values_of_n_are_too_few():
    frame = table(cells(SCALES["smoke"]), learning(saturating))
    assert verdicts(EXPERIMENT, frame)[EVALUATIONS] == INCONCLUSIVE
