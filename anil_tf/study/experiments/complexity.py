"""Experiment 8: what a given training loss costs with N inner steps, in meta-steps, evaluations and seconds.

K(N), the meta-steps to the loss, is fitted on each seed by floor + amplitude * decay^(N - 1): it falls and saturates. A
meta-step has 3N + 1 evaluations, and takes a + b N seconds. The products have their minima somewhere; the questions are
where, and whether it is worth looking for. Judged are meta-steps and evaluations: seconds are judged in the first
experiment, and shown here beside them.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pandas as pd
import scipy.optimize

from anil_tf.study import figures, statistics, sweeps
from anil_tf.study.cell import Cell
from anil_tf.study.claims import (
    NOT_SUPPORTED,
    PAPER,
    SUMMARY,
    SUPPORTED,
    Above,
    Below,
    Claim,
    Measured,
)
from anil_tf.study.experiment import Data, Experiment, Picture, Table
from anil_tf.study.experiments import strongly_convex
from anil_tf.study.figures import Panel, Series
from anil_tf.study.scale import Scale
from anil_tf.study.statistics import UNKNOWN
from anil_tf.study.sweeps import Condition, Reach
from anil_tf.theory import complexity

CONDITIONS = (strongly_convex.STRONGER, strongly_convex.STRONG)
WORTH_IT = 1.05  # a moderate N must save 5 % against both ends to count
FEWEST_N = 4  # three numbers are fitted
_IN_TIME = "the claims in_time of the experiment strongly_convex"

QUESTION = """\
More inner steps may save meta-steps, and they make each meta-step dearer. For a strongly convex inner loss the paper,
as a third party sums it up, recommends a moderate N; its complexity bound (attributed) is N ((1 - alpha mu)^(N/2) + c)
up to constants.

**What the bound cannot say.** N (q^(N/2) + c) falls at all only if c is below e^-2 = 0.135, and the constant that
goes with it is of order 1/mu, which makes it monotone: no moderate N follows from the bound. What can be measured
is T(N) = K(N) (a + b N), with K(N) the number of meta-steps to a given training loss and a + b N the time of one.
This implementation runs the body once per meta-step whatever N is, so that b is small; then the best N in *seconds*
moves to the right of the best N in *evaluations*.

**What is judged here.** Whether K falls with N, and whether the *evaluations* have a minimum at a moderate N. Whether
a moderate N is best in *time* is judged once, from the same runs, in the first experiment (`strongly_convex`, its
claims `in_time`); the seconds stand here as a picture and a table.

**The set-up.** The runs of the first experiment at alpha = 1/L, with nothing added.

**The evaluations** of one task in a meta-step are counted in `anil_tf.theory.complexity`: N + 1 gradients in the
head, N Hessian-vector and N mixed products, and one pass through the body, forward and backward.
"""


def cells(scale: Scale, data: Data) -> list[Cell]:
    """The cells of the first experiment at alpha = 1/L, and its timings: run once for both."""
    conditions = CONDITIONS[1:] if scale.name == "smoke" else CONDITIONS
    runs = [cell for one in conditions for cell in strongly_convex.training_cells(one, scale, data)]
    return runs + sweeps.timing_cells(strongly_convex.STRONG, scale, data)


# ---- Costs ---------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Costs:
    """What a condition has shown: what each run spends until the given loss, and the fits to it.

    Attributes:
        rows: of the condition.
        loss: the given training loss, in nats.
        reach: K of each run.
        numbers: every whole N from the smallest to the largest.
        fitted: K at each of them by the fit, [seeds, N]; None if there is too little to fit.
        time: a and b of the seconds of a meta-step, a + b N; None without timings.
    """

    rows: pd.DataFrame
    loss: float
    reach: Reach
    numbers: np.ndarray
    fitted: np.ndarray | None
    time: tuple[float, float] | None

    def each(self, unit: str, inner_steps: np.ndarray) -> np.ndarray:
        """What a meta-step costs with some N in a unit of `units`, [N]."""
        if unit == "evaluations":
            return evaluations(inner_steps)
        start, step = (self.time or (math.nan, math.nan)) if unit == "seconds" else (1.0, 0.0)
        return start + step * inner_steps

    @property
    def units(self) -> list[str]:
        """In what a cost is known."""
        return ["meta-steps", "evaluations", *(["seconds"] if self.time else [])]

    def depth(self, unit: str) -> Measured:
        """The cost of an end of the range over that of a moderate N, by the fit: above `WORTH_IT` it is worth it.

        An end that never got to the loss costs what its run cost: the fit is not trusted beyond the runs.
        """
        if self.fitted is None:
            return Measured(UNKNOWN)
        costs, ends = self.fitted * self.each(unit, self.numbers), [0, -1]
        spent = self.reach.meta_steps[:, ends] * self.each(unit, self.numbers[ends])
        costs[:, ends] = np.where(self.reach.reached[:, ends], costs[:, ends], spent)
        # An end that costs `WORTH_IT` as much as a moderate N is even with it.
        costs[:, ends] /= WORTH_IT
        found = sweeps.interior_against_ends(costs, self._reached_around())
        return dataclasses.replace(found, shown=found.shown.map(lambda ratio: ratio * WORTH_IT))

    def best(self, unit: str) -> str:
        """The whole N of the least fitted cost: the smallest and the largest of the seeds."""
        if self.fitted is None or unit not in self.units:
            return "-"
        places = self.numbers[(self.fitted * self.each(unit, self.numbers)).argmin(axis=1)]
        return " to ".join(str(n) for n in sorted({places.min(), places.max()}))

    def _reached_around(self) -> np.ndarray:
        """Whether the runs next to each whole N, on both sides, got to the loss: bool [seeds, N]."""
        steps = self.reach.inner_steps
        return np.stack([np.interp(self.numbers, steps, row) == 1.0 for row in self.reach.reached])


def costs(rows: pd.DataFrame) -> Costs | None:
    """The costs of a condition, from its rows with their seconds; None if nothing was learned."""
    loss = sweeps.threshold(rows)
    if math.isnan(loss):
        return None
    reach = sweeps.steps_to(rows, loss)
    numbers = np.arange(reach.inner_steps.min(), reach.inner_steps.max() + 1)
    time = _line(reach.inner_steps, sweeps.seconds_per_meta_step(rows))
    return Costs(rows, loss, reach, numbers, _fit_all(reach, numbers), time)


def evaluations(inner_steps: np.ndarray) -> np.ndarray:
    """Gradients, Hessian-vector and mixed products of one task in a meta-step, counted in `theory.complexity`."""
    counts = [complexity.formula("anil", int(steps)) for steps in inner_steps]
    return np.array([one.gradients + one.hessian_vector + one.mixed for one in counts], np.float64)


def _line(inner_steps: np.ndarray, seconds: np.ndarray) -> tuple[float, float] | None:
    """Start and slope of the least-squares line through times; flat where it would fall. None without times."""
    if len(inner_steps) < 2 or not np.isfinite(seconds).all():
        return None
    step, start = np.polyfit(inner_steps, seconds, 1)
    return (float(start), float(step)) if step > 0 else (float(np.mean(seconds)), 0.0)


def _fit_all(reach: Reach, numbers: np.ndarray) -> np.ndarray | None:
    if len(reach.inner_steps) < FEWEST_N or not np.isfinite(reach.meta_steps).all():
        return None
    if (reach.reached.sum(axis=1) < FEWEST_N - 1).any():
        return None
    runs = zip(reach.meta_steps, reach.reached, strict=True)
    return np.stack([_fit(reach.inner_steps, np.log(row), got, numbers) for row, got in runs])


def _fit(
    inner_steps: np.ndarray, logarithms: np.ndarray, reached: np.ndarray, numbers: np.ndarray
) -> np.ndarray:
    """Floor + amplitude * decay^(N - N_min) on ln K, all three positive and decay below 1, at each whole N.

    Where a run never reached the loss, the fit is held to be no less than its length.
    """

    def curve(parameters: np.ndarray, steps: np.ndarray) -> np.ndarray:
        floor, amplitude, rate = np.exp(parameters)
        return np.log(floor + amplitude * np.exp(-rate * (steps - inner_steps.min())))

    def residuals(parameters: np.ndarray) -> np.ndarray:
        missing = curve(parameters, inner_steps) - logarithms
        return np.where(reached, missing, np.minimum(missing, 0.0))

    low, high = logarithms.min(), logarithms.max()
    bounds = ([low - 5, low - 12, math.log(1e-3)], [high + 5, high + 8, math.log(10.0)])
    starts = [[low, max(high, low + 0.1), math.log(rate)] for rate in (0.03, 0.3, 1.5)]
    fits = [scipy.optimize.least_squares(residuals, start, bounds=bounds) for start in starts]
    return np.exp(curve(min(fits, key=lambda fit: fit.cost).x, numbers))


# ---- Claims --------------------------------------------------------------------------------------------------------


def fall(rows: pd.DataFrame) -> Measured:
    """The exponent p of K ~ N^p."""
    found = costs(rows)
    if found is None or len(found.reach.inner_steps) < 2:
        return Measured(UNKNOWN)
    steps, reached = found.reach.inner_steps, found.reach.reached
    # Too small a K flattens the fall at a small N, and makes it at a large one.
    supports = [SUPPORTED] if reached[:, steps > np.median(steps)].all() else []
    refutes = [NOT_SUPPORTED] if reached.all() else []
    exponent = statistics.log_slope(steps, found.reach.meta_steps)
    return Measured(exponent, decides=(*supports, *refutes))


def fewest_evaluations(rows: pd.DataFrame) -> Measured:
    """The evaluations at the better end of the range over those at a moderate N."""
    found = costs(rows)
    return found.depth("evaluations") if found else Measured(UNKNOWN)


def _claims_under(one: Condition) -> list[Claim]:
    return [
        Claim(
            key=f"meta_steps: {one.label}",
            text="Strongly convex inner loss: the meta-steps to a given loss fall as N grows.",
            said_by=PAPER,
            statistic=sweeps.under(one, fall),
            words="The exponent p of K ~ N^p, K the meta-steps to a training loss: least squares of ln K against ln N "
            f"on each seed. {sweeps.GIVEN_LOSS} A run that never gets there counts with its length, which is too few: "
            "for the claim every N above the median N must get there on all seeds, against it every N.",
            test=Below(0.0),
            number="exponent of the meta-steps in N",
            condition=one.label,
        ),
        Claim(
            key=f"evaluations: {one.label}",
            text="A moderate N needs the fewest evaluations of the head to a given loss.",
            said_by=SUMMARY,
            statistic=sweeps.under(one, fewest_evaluations),
            words="K(N) times the gradients, Hessian-vector and mixed products of one meta-step, 3N + 1 a task. "
            f"{sweeps.GIVEN_LOSS} K(N) = floor + amplitude * decay^(N - 1) is fitted to ln K on each seed, to "
            f"{FEWEST_N} values of N or more of which {FEWEST_N - 1} got there; costs are those of the fit. "
            f"{sweeps.MODERATE} Here a moderate N is any whole number, and the runs next to it must have got there. "
            f"The threshold asks that it saves {100 * (WORTH_IT - 1):.0f} %.",
            test=Above(WORTH_IT),
            number="cost of the better end, in units of a moderate N's",
            condition=one.label,
        ),
    ]


# ---- Pictures and tables -------------------------------------------------------------------------------------------

_LABELS = {
    "meta-steps": "meta-steps K",
    "evaluations": "evaluations of the head, a task",
    "seconds": "seconds",
}


def _found(frame: pd.DataFrame) -> dict[Condition, Costs]:
    parts = sweeps.by_condition(CONDITIONS, frame)
    return {one: found for one, rows in parts.items() if (found := costs(rows))}


def _panels(frame: pd.DataFrame) -> list[Panel]:
    """Meta-steps, evaluations and seconds to the loss against N, with the fits."""
    return [
        _panel(found, unit, f"{one.label}: to {found.loss:.3g} nats")
        for one, found in _found(frame).items()
        for unit in found.units
    ]


def _panel(found: Costs, unit: str, title: str) -> Panel:
    steps, reached = found.reach.inner_steps, np.asarray(found.reach.reached.all(axis=0))
    timed = sweeps.seconds_per_meta_step(found.rows)
    each = timed if unit == "seconds" else found.each(unit, steps)
    logarithms = np.log(found.reach.meta_steps * each)
    intervals = [
        statistics.mean(column).map(math.exp) if got else UNKNOWN
        for column, got in zip(logarithms.T, reached, strict=True)
    ]
    beyond = np.where(reached, np.nan, np.exp(logarithms).max(axis=0))
    series = [
        figures.points("measured", steps, intervals, style=0),
        Series("not reached on some seed: more than", steps, beyond, kind="published"),
    ]
    if found.fitted is not None:
        fitted = np.log(found.fitted * found.each(unit, found.numbers)).mean(axis=0)
        series.append(Series("fit", found.numbers, np.exp(fitted), kind="fit"))
    return Panel(
        series,
        x_label="inner steps N",
        y_label=_LABELS[unit],
        title=title,
        log_x=True,
        log_y=True,
        ticks=[int(n) for n in steps],
    )


def minimum_table(frame: pd.DataFrame) -> Table | None:
    """Where the cost of each condition is least."""
    lines = []
    for one, found in _found(frame).items():
        start, step = found.time or (math.nan, math.nan)
        line = {
            "condition": one.label,
            "given loss (nats)": found.loss,
            "a (ms)": 1000 * start,
            "b (ms)": 1000 * step,
        }
        for unit in ("evaluations", "seconds"):
            line[f"best N, {unit}"] = found.best(unit)
            line[f"depth, {unit}"] = found.depth(unit).shown if unit in found.units else "-"
        lines.append(line)
    note = (
        "Best N: of the fit, over all whole N of the range; the smallest and the largest of the seeds. The depth "
        "is the cost of the better end of the range in units of that of the moderate N that is best on the other "
        "seeds (on the very seed, where it refutes), with its interval over seeds: below 1 an end is better. The "
        f"time of a meta-step is a + b N. Seconds are judged by {_IN_TIME}, "
        "whose table has K and the seconds of each N."
    )
    return Table("Where the cost is least", pd.DataFrame(lines), note) if lines else None


EXPERIMENT = Experiment(
    module=__name__,
    order=8,
    title="What a given loss costs: meta-steps, evaluations, seconds",
    lead="Last, the bill. More inner steps may save meta-steps, and make each of them dearer: how many are best?",
    question=QUESTION,
    cells=cells,
    claims=[claim for one in CONDITIONS for claim in _claims_under(one)],
    pictures=[
        Picture(
            "cost.png",
            "What a given training loss costs",
            "Meta-steps, head evaluations and seconds to a given training loss against N, with the fit K(N) (a + "
            "b N). Bars: 95 % intervals over seeds. Seconds follow the meta-steps where an inner step costs next to "
            f"nothing; evaluations pay for every one. Whether a moderate N is best in seconds is judged by {_IN_TIME}.",
            _panels,
            columns=3,
        )
    ],
    tables=[minimum_table],
)
