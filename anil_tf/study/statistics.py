"""From numbers of single seeds to intervals, and from intervals to verdicts.

The seed is the unit: every statistic is taken on each seed alone, and its interval is Student's t
over the seeds. A number that is missing (nan: a run diverged, a threshold was not reached) is never
left out in silence; it makes the interval unbounded and so the verdict inconclusive, unless the
experiment has said before what stands in its place.

    slope = statistics.trend(np.log(inner_steps), curves_by_seed)     # [seeds, inner steps]
    verdict = statistics.decide(slope, expected="below", than=0.0)
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import scipy.stats

from anil_tf.study.claims import INCONCLUSIVE, NOT_SUPPORTED, SUPPORTED, Verdict

if TYPE_CHECKING:
    import pandas as pd

CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True)
class Interval:
    """A number with its confidence interval.

    Attributes:
        center: the estimate; nan if there is none.
        low: lower end, -inf if nothing bounds it.
        high: upper end, inf if nothing bounds it.
        count: seeds it is over.
    """

    center: float
    low: float
    high: float
    count: int

    def map(self, function) -> Interval:
        """The interval of an increasing function of the number, such as `math.exp`."""
        return Interval(function(self.center), function(self.low), function(self.high), self.count)


# ---- Intervals over seeds --------------------------------------------------------------------------------------------


def mean(values: npt.ArrayLike, confidence: float = CONFIDENCE) -> Interval:
    """The mean over seeds with Student's t interval, mean +- t(n - 1) s / sqrt(n).

    Args:
        values: [seeds], one number of each seed.
        confidence: probability with which the interval covers the true mean, if the numbers of
            seeds are independent and normal.

    Returns:
        The interval. One seed has an unbounded one; so have numbers that are not all finite, and
        their centre is nan.
    """
    numbers = np.asarray(values, np.float64).ravel()
    count = len(numbers)
    if count == 0 or not np.isfinite(numbers).all():
        return Interval(math.nan, -math.inf, math.inf, count)
    center = float(numbers.mean())
    if count == 1:
        return Interval(center, -math.inf, math.inf, count)
    error = numbers.std(ddof=1) / math.sqrt(count)
    reach = float(scipy.stats.t.ppf((1 + confidence) / 2, count - 1) * error)
    return Interval(center, center - reach, center + reach, count)


def paired(first: npt.ArrayLike, second: npt.ArrayLike, confidence: float = CONFIDENCE) -> Interval:
    """The mean of first - second over the same seeds.

    Args:
        first: [seeds].
        second: [seeds], in the same order of seeds: what both share, weights and tasks, cancels.
        confidence: see `mean`.

    Raises:
        ValueError: if the numbers of seeds differ.
    """
    first, second = _pair(first, second)
    return mean(first - second, confidence)


def ratio(first: npt.ArrayLike, second: npt.ArrayLike, confidence: float = CONFIDENCE) -> Interval:
    """The geometric mean of first / second over the same seeds, by `paired` on logarithms.

    Args:
        first: [seeds], positive.
        second: [seeds], positive.
        confidence: see `mean`.

    Returns:
        The interval; unbounded if a number is not positive.
    """
    first, second = _pair(first, second)
    if not ((first > 0).all() and (second > 0).all()):
        return Interval(math.nan, 0.0, math.inf, len(first))
    return paired(np.log(first), np.log(second), confidence).map(_exp)


def trend(x: npt.ArrayLike, y: npt.ArrayLike, confidence: float = CONFIDENCE) -> Interval:
    """The slope of y against x: least squares on each seed, then `mean` over the slopes.

    Args:
        x: [points], two or more different ones.
        y: [seeds, points].
        confidence: see `mean`.

    Returns:
        The interval of the slope, in units of y per unit of x.

    Raises:
        ValueError: if the shapes do not fit, or all x are the same.
    """
    return mean(slopes(x, y), confidence)


def log_slope(x: npt.ArrayLike, y: npt.ArrayLike, confidence: float = CONFIDENCE) -> Interval:
    """The exponent p of y ~ x^p: `trend` of log y against log x.

    Args:
        x: [points], positive.
        y: [seeds, points]; a seed with a number that is not positive has no slope.
        confidence: see `mean`.
    """
    y = np.asarray(y, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        logarithms = np.where(y > 0, np.log(y), np.nan)
    return trend(np.log(np.asarray(x, np.float64)), logarithms, confidence)


def slopes(x: npt.ArrayLike, y: npt.ArrayLike) -> np.ndarray:
    """The least-squares slope of each row of y against x.

    Args:
        x: [points], two or more different ones.
        y: [seeds, points].

    Returns:
        [seeds] float64.

    Raises:
        ValueError: if the shapes do not fit, or all x are the same.
    """
    x = np.asarray(x, np.float64)
    y = np.atleast_2d(np.asarray(y, np.float64))
    if x.ndim != 1 or y.shape[1:] != x.shape:
        raise ValueError(
            f"expected x [points] and y [seeds, points], received {x.shape} and {y.shape}."
        )
    deviation = x - x.mean()
    if not (deviation != 0).any():
        raise ValueError(f"expected two or more different x for a slope, received {x.tolist()}.")
    return y @ deviation / (deviation @ deviation)


def _pair(first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    a, b = (np.asarray(values, np.float64).ravel() for values in (first, second))
    if len(a) != len(b):
        raise ValueError(f"expected the same seeds on both sides, received {len(a)} and {len(b)}.")
    return a, b


def _exp(number: float) -> float:
    """exp, with its limits: exp(-inf) = 0 and exp(inf) = inf."""
    with np.errstate(over="ignore"):
        return float(np.exp(number))


# ---- One curve -------------------------------------------------------------------------------------------------------


def area_under(steps: npt.ArrayLike, values: npt.ArrayLike) -> float:
    """The mean height of a curve: the area under it by trapezoids, over the length of the axis.

    Of a training loss, the lower the faster: it weighs the whole course, not one checkpoint.

    Args:
        steps: [points], ascending: meta-steps or seconds.
        values: [points].

    Returns:
        The height, in units of `values`; nan if a value is not finite.

    Raises:
        ValueError: if the steps do not ascend, or there is only one.
    """
    x, y = _curve(steps, values)
    if len(x) < 2:
        raise ValueError(f"expected two or more points of a curve, received {len(x)}.")
    return float(np.trapezoid(y, x) / (x[-1] - x[0])) if np.isfinite(y).all() else math.nan


def first_step_below(steps: npt.ArrayLike, values: npt.ArrayLike, threshold: float) -> float:
    """Where a curve first falls to a threshold, on the straight line between its points.

    Args:
        steps: [points], ascending: meta-steps or seconds.
        values: [points]; what comes after one that is not finite is not looked at.
        threshold: in units of `values`.

    Returns:
        The place, in units of `steps`; nan if the curve ends (is censored) before.

    Raises:
        ValueError: if the steps do not ascend.
    """
    x, y = _curve(steps, values)
    bad = np.flatnonzero(~np.isfinite(y))
    end = bad[0] if len(bad) else len(y)
    below = np.flatnonzero(y[:end] <= threshold)
    if not len(below):
        return math.nan
    here = below[0]
    if here == 0:
        return float(x[0])
    share = (y[here - 1] - threshold) / (y[here - 1] - y[here])
    return float(x[here - 1] + share * (x[here] - x[here - 1]))


def _curve(steps: npt.ArrayLike, values: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    x, y = (np.asarray(numbers, np.float64).ravel() for numbers in (steps, values))
    if len(x) != len(y) or not (np.diff(x) > 0).all():
        raise ValueError(
            "expected the points of a curve in ascending order, each once, received "
            f"{len(x)} steps {x.tolist()} and {len(y)} values: are they of one seed and one cell?"
        )
    return x, y


# ---- Frames of results -----------------------------------------------------------------------------------------------


def by_seed(
    frame: pd.DataFrame, x: str, y: str, seed: str = "seed"
) -> tuple[np.ndarray, np.ndarray]:
    """A column of results as the array that `trend` and `log_slope` take.

    Args:
        frame: one row for each seed and x.
        x: the column that goes to the right, in ascending order.
        y: the column of the numbers.
        seed: the column that goes down.

    Returns:
        x: [points], and y: [seeds, points] float64, nan where a row is missing.

    Raises:
        ValueError: if two rows have the same seed and x.
    """
    if frame.duplicated([seed, x]).any():
        raise ValueError(
            f"expected one row for each {seed} and {x}, found several: select one cell first "
            "(one checkpoint, one step size, ...)."
        )
    table = frame.pivot(index=seed, columns=x, values=y).sort_index().sort_index(axis=1)
    return table.columns.to_numpy(), table.to_numpy(np.float64)


def summary(frame: pd.DataFrame, by: Sequence[str], value: str) -> pd.DataFrame:
    """The interval of a column over seeds, for each combination of other columns.

    Args:
        frame: one row for each seed and combination.
        by: the columns that tell combinations apart, without the seed.
        value: the column of the numbers.

    Returns:
        One row for each combination, sorted: the columns `by`, then `center`, `low`, `high`,
        `count` (see `mean`), and `least` and `most`, the range of the seeds.
    """
    import pandas as pd

    rows = []
    for key, group in frame.groupby(list(by), sort=True):
        numbers = group[value].to_numpy(np.float64)
        found = {**dataclasses.asdict(mean(numbers)), "least": numbers.min(), "most": numbers.max()}
        rows.append({**dict(zip(by, key, strict=True)), **found})
    columns = [*by, "center", "low", "high", "count", "least", "most"]
    return pd.DataFrame(rows, columns=columns)


# ---- Verdicts --------------------------------------------------------------------------------------------------------


def decide(
    interval: Interval,
    expected: Literal["above", "below"] = "above",
    than: float = 0.0,
    indifference: float = 0.0,
) -> Verdict:
    """What an interval says of a claim that the number is above, or below, a threshold.

    Supported if the whole interval lies on the expected side of `than`. If it does not: not
    supported if it shows that the number is on the other side or passes `than` by less than
    `indifference`, an effect too small to matter, with the whole interval. Else inconclusive.

    Args:
        interval: of the number.
        expected: the side of `than` on which the claim wants the number.
        than: the threshold, in units of the number.
        indifference: the smallest effect that matters, in units of the number, not negative. Zero:
            only an interval wholly on the other side speaks against the claim.

    Raises:
        ValueError: if `expected` is another word, or `indifference` is negative.
    """
    if expected not in ("above", "below"):
        raise ValueError(f"expected: expected 'above' or 'below', received {expected!r}.")
    if not indifference >= 0:
        raise ValueError(f"indifference: expected a number from 0 on, received {indifference}.")
    if math.isnan(interval.center):
        return INCONCLUSIVE
    sign = 1.0 if expected == "above" else -1.0
    worst, best = sorted((sign * (interval.low - than), sign * (interval.high - than)))
    if worst > 0:
        return SUPPORTED
    return NOT_SUPPORTED if best < indifference else INCONCLUSIVE


def decide_equal(interval: Interval, to: float, tolerance: float) -> Verdict:
    """What an interval says of a claim that the number is `to`, up to `tolerance`.

    Supported if the whole interval lies within `to` +- `tolerance`; not supported if all of it lies
    outside; else inconclusive.

    Args:
        interval: of the number.
        to: the claimed value.
        tolerance: in the same units, positive.

    Raises:
        ValueError: if `tolerance` is not positive.
    """
    if not tolerance > 0:
        raise ValueError(f"tolerance: expected a positive number, received {tolerance}.")
    if math.isnan(interval.center):
        return INCONCLUSIVE
    if interval.low > to - tolerance and interval.high < to + tolerance:
        return SUPPORTED
    outside = interval.low > to + tolerance or interval.high < to - tolerance
    return NOT_SUPPORTED if outside else INCONCLUSIVE


def all_of(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict of a claim that has several parts: each must hold.

    Args:
        verdicts: of the parts.

    Returns:
        Supported if all are; not supported if one is not; else, or if there are none, inconclusive.
    """
    parts = list(verdicts)
    if NOT_SUPPORTED in parts:
        return NOT_SUPPORTED
    return SUPPORTED if parts and all(part == SUPPORTED for part in parts) else INCONCLUSIVE
