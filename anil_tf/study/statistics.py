"""From numbers of single seeds to intervals.

The seed is the unit: every statistic is taken on each seed alone, and its interval is Student's t
over the seeds. A number that is missing (nan: a run diverged, a threshold was not reached) is never
left out in silence; it makes the interval unbounded and so the verdict inconclusive, unless the
experiment has said before what stands in its place.

    slope = statistics.trend(np.log(inner_steps), curves_by_seed)     # [seeds, inner steps]
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.stats

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

    def map(self, function: Callable[[float], float]) -> Interval:
        """The interval of an increasing function of the number, such as `math.exp`."""
        return Interval(function(self.center), function(self.low), function(self.high), self.count)


UNKNOWN = Interval(math.nan, -math.inf, math.inf, 0)


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


def trend(x: npt.ArrayLike, y: npt.ArrayLike) -> Interval:
    """The slope of y against x: least squares on each seed, then `mean` over the slopes.

    Args:
        x: [points], two or more different ones.
        y: [seeds, points].

    Returns:
        The interval of the slope, in units of y per unit of x.

    Raises:
        ValueError: if the shapes do not fit, or all x are the same.
    """
    return mean(slopes(x, y))


def log_slope(x: npt.ArrayLike, y: npt.ArrayLike) -> Interval:
    """The exponent p of y ~ x^p: `trend` of log y against log x.

    Args:
        x: [points], positive.
        y: [seeds, points]; a seed with a number that is not positive has no slope.
    """
    y = np.asarray(y, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        logarithms = np.where(y > 0, np.log(y), np.nan)
    return trend(np.log(np.asarray(x, np.float64)), logarithms)


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
    frame: pd.DataFrame, x: str, y: str | Callable[[pd.DataFrame], float]
) -> tuple[np.ndarray, np.ndarray]:
    """A column of results, or a number of each run, as the array that `trend` and `log_slope` take.

    Args:
        frame: one row for each seed and x; several where y is a function.
        x: the column that goes to the right, in ascending order.
        y: the column of the numbers, or a function of the rows of one seed and x.

    Returns:
        x: [points], and y: [seeds, points] float64, nan where a row is missing; both empty without rows.

    Raises:
        ValueError: if two rows have the same seed and x, and y is a column.
    """
    if frame.empty:
        return np.zeros(0), np.zeros([0, 0])
    if callable(y):
        column = pd.Series({key: y(run) for key, run in frame.groupby(["seed", x])})
    elif frame.duplicated(["seed", x]).any():
        raise ValueError(
            f"expected one row for each seed and {x}, found several: select one cell first "
            "(one checkpoint, one step size, ...)."
        )
    else:
        column = frame.set_index(["seed", x])[y]
    table = column.unstack().sort_index().sort_index(axis=1)
    return table.columns.to_numpy(), table.to_numpy(np.float64)
