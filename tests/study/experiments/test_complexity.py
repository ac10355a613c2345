"""Experiment 8 on made results: fits must find what was built in, and verdicts must follow."""

import dataclasses
import math

import numpy as np
import pytest

from anil_tf.study.claims import INCONCLUSIVE, NOT_SUPPORTED, SUPPORTED
from anil_tf.study.experiment import Data
from anil_tf.study.experiments import complexity, strongly_convex
from anil_tf.study.experiments.complexity import EXPERIMENT, Line
from anil_tf.study.experiments.sweeps import Reach
from anil_tf.study.scale import SCALES
from tests.study.experiments.made_results import learning, table, verdicts

SMALL = SCALES["small"]
ONE = strongly_convex.LARGEST_STEP[0]
META_STEPS, EVALUATIONS = (
    f"{key}: {ONE.label}" for key in (complexity.META_STEPS, complexity.EVALUATIONS)
)
STEPS = np.array([1, 3, 5, 7, 10, 20])


def cells(scale=SMALL):
    return EXPERIMENT.cells(scale, Data("fc100"))


def saturating(steps):
    """1/rate falls from 280 to 30 meta-steps."""
    return 1 / (30 + 250 * 0.6 ** (steps - 1))


def flat(steps):
    return 0.008


def test_the_fit_finds_the_curve_and_its_minimum():
    meta_steps = np.stack([level * (20 + 200 * 0.7 ** (STEPS - 1)) for level in (1.0, 1.2, 0.9)])
    reach = Reach(STEPS, meta_steps, np.full(meta_steps.shape, True))
    numbers = complexity.whole_numbers(reach)
    true = 20 + 200 * 0.7 ** (numbers - 1)

    fitted = complexity.fit_meta_steps(reach)
    least = complexity.minimum(reach, fitted, Line(0.1, 0.02))

    np.testing.assert_allclose(fitted / meta_steps[:, :1] * 220, [true] * 3, rtol=1e-3)
    cost = true * (0.1 + 0.02 * numbers)
    assert set(least.places) == {numbers[cost.argmin()]}
    assert least.depth.center == pytest.approx(min(cost[0], cost[-1]) / cost.min(), rel=1e-3)
    assert least.verdict == SUPPORTED


def test_the_moderate_n_is_chosen_on_the_other_seeds():
    """Each seed has a dip of its own: chosen on itself it would save 30 %, chosen on the others it saves nothing."""
    steps = np.array([1, 2, 3, 4, 5])
    fitted = np.full([3, 5], 100.0) * np.array([[1.0], [1.01], [0.99]])
    fitted[range(3), [1, 2, 3]] *= 0.7
    reach = Reach(steps, fitted, np.full(fitted.shape, True))

    least = complexity.minimum(reach, fitted, np.ones_like)

    np.testing.assert_array_equal(least.places, [2, 3, 4])
    assert least.depth.center == pytest.approx(1.0, rel=1e-6)
    assert least.verdict == INCONCLUSIVE


def test_a_run_that_never_gets_there_bounds_the_fit_from_below_alone():
    true = 20 + 400 * 0.7 ** (STEPS - 1)
    reached = true <= 300
    reach = Reach(STEPS, np.minimum(true, 300.0)[None], reached[None])

    fitted = complexity.fit_meta_steps(reach)[0]

    assert not reached[0]
    assert fitted[0] >= 299
    np.testing.assert_allclose(fitted[STEPS[1:] - 1], true[1:], rtol=0.02)


def test_an_end_beyond_its_run_can_support_but_not_refute():
    def verdict(length):
        meta_steps = np.stack([one * (30 + 400 * 0.5 ** (STEPS - 1)) for one in (1.0, 1.01, 0.99)])
        reach = Reach(STEPS, np.minimum(meta_steps, length), meta_steps <= length)
        fitted = complexity.fit_meta_steps(reach)
        return complexity.minimum(reach, fitted, lambda n: 1 + 0.3 * n).verdict

    assert verdict(500) == verdict(300) == SUPPORTED
    assert (
        verdict(80) == INCONCLUSIVE
    )  # for 80 meta-steps N = 1 costs less than the best, but it took more


def test_a_moderate_n_counts_only_where_the_runs_next_to_it_got_there():
    meta_steps = np.stack([one * (30 + 400 * 0.5 ** (STEPS - 1)) for one in (1.0, 1.01, 0.99)])
    reached = np.full(meta_steps.shape, True)
    fitted = complexity.fit_meta_steps(Reach(STEPS, meta_steps, reached))
    assert (
        complexity.minimum(Reach(STEPS, meta_steps, reached), fitted, np.copy).verdict == SUPPORTED
    )

    reached[0, 2:4] = False  # N = 5 and 7

    assert (
        complexity.minimum(Reach(STEPS, meta_steps, reached), fitted, np.copy).verdict
        == INCONCLUSIVE
    )


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
def test_the_fall_needs_every_n_above_the_median(falls, lost, expected):
    exponent = -0.5 if falls else 0.5
    meta_steps = 100 * np.array([[1.0], [1.02], [0.97]]) * STEPS**exponent
    meta_steps[:, 0] *= [1.0, 1.05, 1.01]
    reached = np.full(meta_steps.shape, True)
    reached[1, list(lost)] = False
    found = complexity._Found(None, 1.0, Reach(STEPS, meta_steps, reached), None, None)

    assert complexity._fall(found)[1] == expected


def test_too_few_n_are_not_fitted():
    few = Reach(STEPS[:3], np.ones([2, 3]), np.full([2, 3], True))
    lost = Reach(STEPS, np.full([2, 6], np.nan), np.full([2, 6], False))

    assert complexity.fit_meta_steps(few) is None
    assert complexity.fit_meta_steps(lost) is None


def test_the_line_through_the_times():
    line = complexity.line(STEPS, 0.2 + 0.01 * STEPS)

    assert (line.start, line.step) == (pytest.approx(0.2), pytest.approx(0.01))
    assert complexity.line(STEPS, 0.2 - 0.001 * STEPS).step == 0
    assert complexity.line(STEPS, np.full(6, np.nan)) is None


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


def test_time_is_judged_by_the_first_experiment_alone():
    assert {key.partition(":")[0] for key in EXPERIMENT.rules} == {
        complexity.META_STEPS,
        complexity.EVALUATIONS,
    }
    assert any(key.startswith(strongly_convex.IN_TIME) for key in strongly_convex.RULES)
    texts = [EXPERIMENT.question, *(rule.claim for rule in EXPERIMENT.rules.values())]
    assert all("first experiment" in text for text in texts if "evaluations of the head" in text)


def test_more_meta_steps_with_larger_n_are_not_supported():
    frame = table(cells(), learning(lambda n: 0.02 / (1 + math.log2(n))))

    assert verdicts(EXPERIMENT, frame)[META_STEPS] == NOT_SUPPORTED


def test_one_seed_or_nothing_learned_is_inconclusive():
    one_seed = table(cells(dataclasses.replace(SMALL, seeds=(0,))), learning(saturating))
    nothing = table(cells(), lambda settings, step: math.log(5))
    diverged = table(cells(), lambda settings, step: math.nan if step else 1.6)

    for frame in (one_seed, nothing, diverged, nothing.head(0)):
        assert set(verdicts(EXPERIMENT, frame).values()) == {INCONCLUSIVE}


def test_it_adds_no_cells_to_the_first_experiment():
    data = Data("fc100")

    assert set(cells()) <= set(strongly_convex.EXPERIMENT.cells(SMALL, data))


def test_long_adds_no_cells_either_and_says_what_was_not_run():
    long = SCALES["long"]
    first = strongly_convex.EXPERIMENT.cells(long, Data("fc100"))
    assert set(cells(long)) <= set(first)

    found = EXPERIMENT.judge(table(cells(long), learning(saturating), smoothness=40.0))
    by_key = dict(zip(EXPERIMENT.rules, found, strict=True))
    assert by_key[META_STEPS].verdict == SUPPORTED and not by_key[META_STEPS].reason
    left_out = f"{complexity.META_STEPS}: {strongly_convex.LARGEST_STEP[-1].label}"
    assert (by_key[left_out].verdict, by_key[left_out].reason) == (INCONCLUSIVE, "not run")


def test_pictures_and_tables(tmp_path):
    frame = table(cells(), learning(saturating), seconds=lambda n: 0.1 + 0.02 * n, folder=tmp_path)
    pictures, tables = EXPERIMENT.draw(frame, tmp_path), EXPERIMENT.tables(frame)
    row = tables[0].frame.iloc[0]

    assert 0 < (tmp_path / pictures[0].file).stat().st_size < 120_000
    assert (row["a (ms)"], row["b (ms)"]) == (pytest.approx(100), pytest.approx(20))
    in_evaluations, in_seconds = (
        int(row[f"best N, {cost}"].split(" to ")[0]) for cost in ("evaluations", "seconds")
    )
    assert 1 < in_evaluations <= in_seconds < 20
    assert len(tables[1].frame) == 5 * 6 and "q^N" in tables[1].frame


def test_smoke_draws_without_a_fit(tmp_path):
    frame = table(cells(SCALES["smoke"]), learning(saturating), folder=tmp_path)

    assert EXPERIMENT.draw(frame, tmp_path) and EXPERIMENT.tables(frame)
    assert verdicts(EXPERIMENT, frame)[EVALUATIONS] == INCONCLUSIVE
    reasons = {claim.reason for claim in EXPERIMENT.judge(frame)}
    assert reasons == {"", "2 values of N, 4 are needed", "not run"}
