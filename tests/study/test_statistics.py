import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from anil_tf.study import statistics
from anil_tf.study.claims import INCONCLUSIVE, NOT_SUPPORTED, SUPPORTED, Above, Below
from anil_tf.study.statistics import Interval

NUMBERS = st.floats(-1e6, 1e6, allow_subnormal=False)
SEEDS = st.lists(NUMBERS, min_size=2, max_size=8)


def ends(interval):
    return interval.low, interval.high


# ---- Intervals -------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=10), st.floats(0.5, 0.99))
def test_the_mean_has_the_interval_that_scipy_gives(values, confidence):
    found = statistics.mean(values, confidence)
    reference = scipy.stats.ttest_1samp(values, 0.0) if len(set(values)) > 1 else None
    assert found.count == len(values)
    assert found.center == pytest.approx(np.mean(values))
    if reference is not None:
        assert ends(found) == pytest.approx(tuple(reference.confidence_interval(confidence)))
    else:
        assert ends(found) == (found.center, found.center)


def test_a_difference_has_the_interval_of_scipys_paired_test():
    first, second = [1.0, 2.5, 3.1, 0.2], [0.7, 1.9, 3.3, -0.4]
    reference = scipy.stats.ttest_rel(first, second).confidence_interval(0.95)
    assert ends(statistics.paired(first, second)) == pytest.approx(tuple(reference))


def test_pairs_cancel_what_seeds_share():
    shared = np.array([10.0, -30.0, 500.0])
    found = statistics.paired(shared + [1.0, 1.1, 0.9], shared)
    assert found.center == pytest.approx(1.0)
    assert found.high - found.low < 1


def test_a_ratio_is_geometric():
    found = statistics.ratio([2.0, 8.0, 4.0], [1.0, 2.0, 1.0])
    logs = np.log([2.0, 4.0, 4.0])
    reference = np.exp(scipy.stats.ttest_1samp(logs, 0.0).confidence_interval(0.95))
    assert found.center == pytest.approx(np.exp(logs.mean()))
    assert ends(found) == pytest.approx(tuple(reference))
    swapped = statistics.ratio([1.0, 2.0, 1.0], [2.0, 8.0, 4.0])
    assert swapped.center == pytest.approx(1 / found.center)


def test_a_ratio_of_what_is_not_positive_says_nothing():
    assert math.isnan(statistics.ratio([1.0, 0.0], [1.0, 1.0]).center)
    assert ends(statistics.ratio([2.0], [1.0])) == (0.0, math.inf)


def test_different_seeds_are_not_paired():
    with pytest.raises(ValueError, match="same seeds.*2 and 3"):
        statistics.paired([1, 2], [1, 2, 3])


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [1.0, math.inf, 2.0]])
def test_a_number_that_is_missing_leaves_no_interval(values):
    found = statistics.mean(values)
    assert math.isnan(found.center) and ends(found) == (-math.inf, math.inf)
    assert found.count == len(values)
    for test in (Above(0.0), Below(0.0, indifference=1e9)):
        assert test.verdict([found]) == INCONCLUSIVE


def test_one_seed_bounds_nothing():
    assert statistics.mean([2.0]) == Interval(2.0, -math.inf, math.inf, 1)


@pytest.mark.parametrize("seeds", [3, 5])
def test_the_interval_covers_the_truth_as_often_as_it_says(seeds):
    samples = np.random.default_rng(0).normal(3.0, 2.0, (4000, seeds))
    found = [statistics.mean(sample) for sample in samples]
    covered = np.mean([one.low <= 3.0 <= one.high for one in found])
    # Four standard errors of a share of 0.95 in 4000.
    assert abs(covered - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 4000)
    normal = np.mean([abs(s.mean() - 3) < 1.96 * s.std(ddof=1) / seeds**0.5 for s in samples])
    assert normal < 0.9  # what the normal interval, without Student's t, would have covered


def test_the_interval_of_a_trend_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(1)
    x = np.array([1.0, 3.0, 5.0, 7.0, 10.0, 20.0])
    # Seeds differ in level and slope, and points of a seed have noise of their own.
    slopes = -0.5 + 0.1 * generator.normal(size=(3000, 3, 1))
    y = slopes * x + generator.normal(0, 5, (3000, 3, 1)) + generator.normal(0, 1, (3000, 3, 6))
    found = [statistics.trend(x, sample) for sample in y]
    covered = np.mean([one.low <= -0.5 <= one.high for one in found])
    assert abs(covered - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 3000)


def test_a_claim_without_effect_is_supported_by_chance_no_more_often_than_the_interval_allows():
    samples = np.random.default_rng(2).normal(size=(4000, 3))
    verdicts = [Above(0.0).verdict([statistics.mean(sample)]) for sample in samples]
    for verdict in (SUPPORTED, NOT_SUPPORTED):
        assert abs(verdicts.count(verdict) / 4000 - 0.025) < 4 * math.sqrt(0.025 / 4000)


# ---- Slopes ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.lists(NUMBERS, min_size=4, max_size=4), min_size=1, max_size=4))
def test_slopes_are_those_of_scipy(y):
    x = [1.0, 3.0, 5.0, 20.0]
    reference = [scipy.stats.linregress(x, row).slope for row in y]
    np.testing.assert_allclose(statistics.slopes(x, y), reference, rtol=1e-9, atol=1e-6)


def test_a_power_law_has_its_exponent_as_slope():
    x = np.array([1.0, 2.0, 4.0, 8.0])
    y = np.stack([3 * x**-1.0, 0.1 * x**-1.2, 7 * x**-0.8])
    found = statistics.log_slope(x, y)
    assert found.center == pytest.approx(-1.0)
    assert ends(found) == pytest.approx(ends(statistics.mean([-1.0, -1.2, -0.8])))


def test_a_power_law_with_a_zero_has_no_slope():
    assert math.isnan(statistics.log_slope([1, 2], [[1.0, 0.0], [1.0, 2.0]]).center)


def test_a_missing_point_is_not_left_out_in_silence():
    assert math.isnan(statistics.trend([1, 2, 3], [[1.0, math.nan, 3.0], [1.0, 2.0, 3.0]]).center)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([1, 1], [[1, 2]], "different x"),
        ([1, 2, 3], [[1, 2]], r"\(3,\) and \(1, 2\)"),
    ],
)
def test_slopes_of_nothing_are_refused(x, y, message):
    with pytest.raises(ValueError, match=message):
        statistics.slopes(x, y)


# ---- Curves ----------------------------------------------------------------------------------------------------------


def test_the_area_is_a_mean_height():
    steps = [0, 1, 3, 10]
    assert statistics.area_under(steps, [2.0] * 4) == pytest.approx(2.0)
    assert statistics.area_under(steps, steps) == pytest.approx(5.0)


@given(st.floats(0.5, 100), st.floats(-5, 5))
def test_the_area_does_not_depend_on_the_unit_of_time(unit, level):
    steps, values = np.array([0.0, 1.0, 4.0, 9.0]), np.array([3.0, 2.0, 1.5, 1.4])
    found = statistics.area_under(unit * steps, values + level)
    assert found == pytest.approx(statistics.area_under(steps, values) + level)


def test_a_curve_that_diverged_has_no_area():
    assert math.isnan(statistics.area_under([0, 1, 2], [1.0, math.nan, 1.0]))


@pytest.mark.parametrize(
    ("values", "threshold", "step"),
    [
        ([4.0, 2.0, 1.0, 0.5], 3.0, 5.0),
        ([4.0, 2.0, 1.0, 0.5], 2.0, 10.0),
        ([4.0, 2.0, 1.0, 0.5], 9.0, 0.0),
        ([4.0, 2.0, 5.0, 0.5], 1.0, 30 + 10 * 4 / 4.5 - 10),
        ([4.0, 3.0, 3.0, 3.0], 1.0, math.nan),
        ([4.0, math.nan, 0.0, 0.0], 1.0, math.nan),
    ],
)
def test_where_a_curve_first_falls_to_a_threshold(values, threshold, step):
    found = statistics.first_step_below([0, 10, 20, 30], values, threshold)
    assert found == pytest.approx(step, nan_ok=True)


@given(st.lists(st.floats(0, 10), min_size=2, max_size=8), st.floats(0, 10), st.floats(0, 10))
def test_a_lower_threshold_is_never_reached_earlier(values, one, other):
    low, high = sorted((one, other))
    steps = list(range(len(values)))
    late = statistics.first_step_below(steps, values, low)
    early = statistics.first_step_below(steps, values, high)
    assert math.isnan(late) or early <= late + 1e-9


def test_points_of_two_runs_are_no_curve():
    for function in (statistics.area_under, lambda s, v: statistics.first_step_below(s, v, 0)):
        with pytest.raises(ValueError, match="of one seed and one cell"):
            function([0, 1, 0, 1], [1.0, 2.0, 3.0, 4.0])
    with pytest.raises(ValueError, match="two or more points"):
        statistics.area_under([0], [1.0])


# ---- Frames ----------------------------------------------------------------------------------------------------------


def test_a_column_becomes_an_array_of_seeds():
    frame = pd.DataFrame(
        [(1, 20, 6.0), (0, 20, 5.0), (0, 3, 1.0), (1, 3, 2.0), (0, 7, 3.0)],
        columns=["seed", "inner_steps", "loss"],
    )
    x, y = statistics.by_seed(frame, "inner_steps", "loss")
    assert x.tolist() == [3, 7, 20]
    np.testing.assert_array_equal(y, [[1.0, 3.0, 5.0], [2.0, math.nan, 6.0]])
    twice = pd.concat([frame, frame.iloc[:1]])
    with pytest.raises(ValueError, match="select one cell first"):
        statistics.by_seed(twice, "inner_steps", "loss")


def test_a_number_of_each_run_becomes_an_array_of_seeds():
    frame = pd.DataFrame({"seed": [0, 0, 1, 1], "n": [3, 3, 3, 7], "loss": [1.0, 2.0, 5.0, 6.0]})
    x, y = statistics.by_seed(frame, "n", lambda run: run["loss"].max())
    assert x.tolist() == [3, 7]
    np.testing.assert_array_equal(y, [[2.0, math.nan], [5.0, 6.0]])
    assert statistics.by_seed(frame.head(0), "n", "loss")[1].shape == (0, 0)
