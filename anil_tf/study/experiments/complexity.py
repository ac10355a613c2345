"""Experiment 8: what a given training loss costs with N inner steps, in meta-steps, evaluations and seconds.

K(N), the meta-steps to the loss, is fitted on each seed by floor + amplitude * decay^(N - 1): it falls and saturates. A
meta-step has 3N + 1 evaluations, and takes a + b N seconds. The products have their minima somewhere; the questions are
where, and whether it is worth looking for. Judged are meta-steps and evaluations: seconds are judged in the first
experiment, and shown here beside them.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from anil_tf.study import statistics
from anil_tf.study.cell import Cell
from anil_tf.study.claims import (
    INCONCLUSIVE,
    NOT_RUN,
    SUPPORTED,
    Claim,
    Picture,
    Rule,
    Table,
    Verdict,
)
from anil_tf.study.experiment import Data, Experiment
from anil_tf.study.experiments import strongly_convex, sweeps
from anil_tf.study.experiments.sweeps import Condition, Reach
from anil_tf.study.scale import Scale
from anil_tf.study.statistics import Interval

if TYPE_CHECKING:
    import pandas as pd

    from anil_tf.study.figures import Panel

NAME = "complexity"
CONDITIONS = (strongly_convex.STRONGER, *strongly_convex.LARGEST_STEP)
WORTH_IT = 1.05  # a moderate N must save 5 % against both ends to count
_FEWEST_N = 4  # three numbers are fitted
_IN_TIME = "the rules in_time of the experiment strongly_convex"

META_STEPS, EVALUATIONS, SECONDS = "meta_steps", "evaluations", "seconds"

_LOSS = (
    "the given training loss lies midway, in logarithms, between the lowest at any run's start and the lowest "
    "that some N reaches on every seed"
)
_FIT = (
    "K(N) = floor + amplitude * decay^(N - 1) is fitted to ln K on each seed; a run that never gets there says "
    "only that K is larger than its length"
)


def _rules() -> dict[str, Rule]:
    rules = {}
    for one in CONDITIONS:
        rules[f"{META_STEPS}: {one.label}"] = Rule(
            f"The meta-steps to a given loss fall as N grows ({one.label}).",
            "The exponent p of K ~ N^p, K the meta-steps to a training loss: least squares of ln K against ln N "
            f"on each seed; {_LOSS}. A run that never gets there counts with its length, which is too few. "
            "Student's 95 % interval over seeds. Supported if all of it lies below 0 and every N above the median N "
            "gets there on all seeds; not supported if all of it lies above 0 and every N does. Else inconclusive, "
            "as where nothing was learned.",
            "exponent of the meta-steps in N",
        )
    for one in CONDITIONS:
        rules[f"{EVALUATIONS}: {one.label}"] = Rule(
            "A moderate N, between the smallest and the largest, needs the fewest evaluations of the head to a given "
            f"loss ({one.label}). Of evaluations only: time is judged in the first experiment.",
            "The cost is K(N) times the gradients, Hessian-vector and mixed products of one meta-step, 3N + 1 a "
            f"task; {_LOSS}. {_FIT}. The moderate N is a whole number between the two ends of the range, chosen for "
            "each seed by the mean log cost of the fit on the other seeds. The ratio is the cost of an end over that "
            "of the moderate N, both by the fit on the very seed. Supported if for both ends Student's 95 % interval "
            f"over seeds of the ratio's logarithm lies above ln {WORTH_IT:g}, and on each seed the runs at the N next "
            "to the chosen one, or at it, get there. Not supported if for one end that gets there on every seed it "
            f"lies below ln {WORTH_IT:g} (a moderate N saves less than {100 * (WORTH_IT - 1):.0f} %) even against the "
            "moderate N that is best on the very seed. Else inconclusive, as with fewer than "
            f"{_FEWEST_N} values of N, with fewer than {_FEWEST_N - 1} of them there on some seed, or where nothing "
            "was learned. An end that never gets there counts with the cost of its whole run, which is too little. "
            "The number shown is the ratio of the end that decides: the one that refutes, or else the one that comes "
            "closer.",
            "cost of the better end, in units of a moderate N's",
        )
    return rules


RULES = _rules()

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
rules `in_time`); the seconds stand here as a picture and a table.

**The set-up.** The runs of the first experiment at alpha = 1/L, with nothing added. No verdict is withheld here for
a weak contraction: the statements are about what it costs, not about why. The first experiment asks why, and q^N
stands beside each cell.

**The evaluations** of one task in a meta-step are counted in `anil_tf.theory.complexity`: N + 1 gradients in the
head, N Hessian-vector and N mixed products, and one pass through the body, forward and backward.
"""


def cells(scale: Scale, data: Data) -> list[Cell]:
    """The cells of the first experiment at alpha = 1/L, and its timings: run once for both."""
    first = strongly_convex.LARGEST_STEP[0]
    lengthened = tuple(one for one in CONDITIONS if one in strongly_convex.LENGTHENED)
    conditions = {"smoke": (first,), "long": lengthened}.get(scale.name, CONDITIONS)
    runs = [cell for one in conditions for cell in strongly_convex.training_cells(one, scale, data)]
    return runs + sweeps.timing_cells(first, scale, data)


# ---- Costs ---------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Line:
    """The time of a meta-step, a + b N.

    Attributes:
        start: a, in seconds.
        step: b, in seconds.
    """

    start: float
    step: float

    def __call__(self, inner_steps: np.ndarray) -> np.ndarray:
        """Seconds of a meta-step."""
        return self.start + self.step * inner_steps


def line(inner_steps: np.ndarray, seconds: np.ndarray) -> Line | None:
    """The least-squares line through the times of a meta-step; flat where it would fall. None without times."""
    if len(inner_steps) < 2 or not np.isfinite(seconds).all():
        return None
    step, start = np.polyfit(inner_steps, seconds, 1)
    return Line(float(start), float(step)) if step > 0 else Line(float(np.mean(seconds)), 0.0)


def fit_meta_steps(reach: Reach) -> np.ndarray | None:
    """K(N) on each seed by the fit, at each whole N of the range, [seeds, N]; None if there is too little to fit.

    Args:
        reach: the meta-steps of each run; where a loss was not reached, the fit is held to be no less than them.
    """
    if len(reach.inner_steps) < _FEWEST_N or not np.isfinite(reach.meta_steps).all():
        return None
    if (reach.reached.sum(axis=1) < _FEWEST_N - 1).any():
        return None
    return np.stack(
        [
            _fit(reach.inner_steps, np.log(row), reached)
            for row, reached in zip(reach.meta_steps, reach.reached, strict=True)
        ]
    )


def whole_numbers(reach: Reach) -> np.ndarray:
    """Every N from the smallest to the largest."""
    return np.arange(reach.inner_steps.min(), reach.inner_steps.max() + 1)


def _fit(inner_steps: np.ndarray, logarithms: np.ndarray, reached: np.ndarray) -> np.ndarray:
    """Floor + amplitude * decay^(N - N_min) on ln K, all three positive and decay below 1, at each whole N."""
    import scipy.optimize

    first = inner_steps.min()

    def curve(parameters: np.ndarray, steps: np.ndarray) -> np.ndarray:
        floor, amplitude, rate = np.exp(parameters)
        return np.log(floor + amplitude * np.exp(-rate * (steps - first)))

    def residuals(parameters: np.ndarray) -> np.ndarray:
        missing = curve(parameters, inner_steps) - logarithms
        return np.where(reached, missing, np.minimum(missing, 0.0))

    low, high = logarithms.min(), logarithms.max()
    best = min(
        (
            scipy.optimize.least_squares(
                residuals,
                [low, max(high, low + 0.1), math.log(rate)],
                bounds=([low - 5, low - 12, math.log(1e-3)], [high + 5, high + 8, math.log(10.0)]),
            )
            for rate in (0.03, 0.3, 1.5)
        ),
        key=lambda found: found.cost,
    )
    return np.exp(curve(best.x, np.arange(first, inner_steps.max() + 1)))


def evaluations(inner_steps: np.ndarray) -> np.ndarray:
    """Gradients, Hessian-vector and mixed products of one task in a meta-step, counted in `theory.complexity`."""
    from anil_tf.theory import complexity

    counts = [complexity.formula("anil", int(steps)) for steps in inner_steps]
    return np.array([one.gradients + one.hessian_vector + one.mixed for one in counts], np.float64)


@dataclasses.dataclass(frozen=True)
class Minimum:
    """Where a fitted cost is least, and whether it is worth looking for.

    Attributes:
        places: the N of the least cost on each seed, [seeds]; the ends of the range included.
        depth: the cost of the end that decides, in units of a moderate N's, with its interval over seeds.
        verdict: whether a moderate N saves `WORTH_IT` against both ends.
    """

    places: np.ndarray
    depth: Interval
    verdict: Verdict


def minimum(reach: Reach, fitted: np.ndarray, each: Callable[[np.ndarray], np.ndarray]) -> Minimum:
    """The minimum of a cost over a range of N.

    The moderate N is chosen on the other seeds, see `sweeps.interior_against_ends`: what it is compared by did not
    choose it.

    Args:
        reach: the meta-steps of each run.
        fitted: the fitted K at every whole N, [seeds, N].
        each: the cost of a meta-step with N inner steps, [N] -> [N].

    Returns:
        Where it is, how deep, and the verdict. An end that never got to the loss costs what its run cost, which is too
        little: the fit is not trusted beyond the runs.
    """
    numbers = whole_numbers(reach)
    costs = fitted * each(numbers)
    places = numbers[costs.argmin(axis=1)]
    ends = [0, -1]
    spent = reach.meta_steps[:, ends] * each(numbers[ends])
    costs[:, ends] = np.where(reach.reached[:, ends], costs[:, ends], spent)
    # An end that costs `WORTH_IT` as much as a moderate N is even with it.
    costs[:, ends] /= WORTH_IT
    depth, verdict = sweeps.interior_against_ends(costs, _known(reach))
    return Minimum(places, depth.map(lambda ratio: ratio * WORTH_IT), verdict)


def _known(reach: Reach) -> np.ndarray:
    """Whether the runs next to each whole N, on both sides, got to the loss: bool [seeds, N]."""
    numbers = whole_numbers(reach)
    return np.stack(
        [np.interp(numbers, reach.inner_steps, row.astype(float)) == 1.0 for row in reach.reached]
    )


# ---- Verdicts ------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Found:
    """What a condition has shown: K of each run, the fitted K at every N, and the time of a meta-step."""

    rows: pd.DataFrame
    loss: float
    reach: Reach
    fitted: np.ndarray | None
    time: Line | None

    @property
    def numbers(self) -> np.ndarray:
        return whole_numbers(self.reach)

    def minima(self) -> dict[str, Minimum]:
        """The minima of both costs, as far as they can be found."""
        if self.fitted is None:
            return {}
        found = {EVALUATIONS: minimum(self.reach, self.fitted, evaluations)}
        if self.time is not None:
            found[SECONDS] = minimum(self.reach, self.fitted, self.time)
        return found


def _find(condition: Condition, frame: pd.DataFrame) -> _Found | None:
    """None if nothing ran, or nothing was learned."""
    rows = condition.rows(frame)
    loss = sweeps.threshold(rows) if not rows.empty else math.nan
    if math.isnan(loss):
        return None
    rows = sweeps.with_seconds(rows, frame)
    reach = sweeps.steps_to(rows, loss)
    time = line(reach.inner_steps, sweeps.seconds_per_meta_step(rows))
    return _Found(rows, loss, reach, fit_meta_steps(reach), time)


def judge(frame: pd.DataFrame) -> list[Claim]:
    """One claim for each rule."""
    verdicts: dict[str, tuple[Interval, Verdict, str]] = {}
    for one in CONDITIONS:
        if one.rows(frame).empty:
            unknown = sweeps.UNKNOWN, INCONCLUSIVE, NOT_RUN
            verdicts |= {f"{what}: {one.label}": unknown for what in (META_STEPS, EVALUATIONS)}
            continue
        found = _find(one, frame)
        verdicts[f"{META_STEPS}: {one.label}"] = _fall(found)
        verdicts[f"{EVALUATIONS}: {one.label}"] = _fewest_evaluations(found)
    return [rule.claimed(NAME, *verdicts[key]) for key, rule in RULES.items()]


def _fall(found: _Found | None) -> tuple[Interval, Verdict, str]:
    if found is None or len(found.reach.inner_steps) < 2:
        return sweeps.UNKNOWN, INCONCLUSIVE, ""
    steps, reached = found.reach.inner_steps, found.reach.reached
    exponent = statistics.log_slope(steps, found.reach.meta_steps)
    verdict = statistics.decide(exponent, expected="below", than=0.0)
    # Too small a K flattens the fall at a small N, and makes it at a large one.
    needed = steps > np.median(steps) if verdict == SUPPORTED else np.full(len(steps), True)
    return exponent, verdict if reached[:, needed].all() else INCONCLUSIVE, ""


def _fewest_evaluations(found: _Found | None) -> tuple[Interval, Verdict, str]:
    if found is None:
        return sweeps.UNKNOWN, INCONCLUSIVE, ""
    count = len(found.reach.inner_steps)
    if count < _FEWEST_N:
        return sweeps.UNKNOWN, INCONCLUSIVE, f"{count} values of N, {_FEWEST_N} are needed"
    least = found.minima().get(EVALUATIONS)
    return (least.depth, least.verdict, "") if least else (sweeps.UNKNOWN, INCONCLUSIVE, "")


# ---- Pictures and tables -------------------------------------------------------------------------------------------


def draw(frame: pd.DataFrame, folder: pathlib.Path) -> list[Picture]:
    """Meta-steps, evaluations and seconds to the loss against N, with the fits, for each lambda."""
    from anil_tf.study import figures

    panels = []
    for one in CONDITIONS:
        found = _find(one, frame)
        if found is None:
            continue
        steps = found.reach.inner_steps
        costs = [
            (np.ones(len(steps)), np.ones(len(found.numbers)), "meta-steps K"),
            (evaluations(steps), evaluations(found.numbers), "evaluations of the head, a task"),
        ]
        if found.time is not None:
            measured = sweeps.seconds_per_meta_step(found.rows)
            costs.append((measured, found.time(found.numbers), "seconds"))
        panels += [
            _panel(found, at_points, at_numbers, label, f"{one.label}: to {found.loss:.3g} nats")
            for at_points, at_numbers, label in costs
        ]
    if not panels:
        return []
    columns = 3 if any(panel.y_label == "seconds" for panel in panels) else 2
    figures.draw(
        panels,
        folder / "cost.png",
        title="What a given training loss costs",
        note="Bars: 95 % intervals over seeds.",
        columns=columns,
    )
    return [
        Picture(
            "cost.png",
            "Meta-steps, head evaluations and seconds to a given training loss against N, with the fit K(N) (a + "
            "b N). Seconds follow the meta-steps where an inner step costs next to nothing; evaluations pay for "
            f"every one. Whether a moderate N is best in seconds is judged by {_IN_TIME}.",
        )
    ]


def _panel(
    found: _Found, at_points: np.ndarray, at_numbers: np.ndarray, label: str, title: str
) -> Panel:
    from anil_tf.study import figures

    steps, reached = found.reach.inner_steps, found.reach.reached.all(axis=0)
    logarithms = np.log(found.reach.meta_steps * at_points)
    intervals = [statistics.mean(column).map(math.exp) for column in logarithms.T]
    center, low, high = (
        np.where(reached, [getattr(one, name) for one in intervals], np.nan)
        for name in ("center", "low", "high")
    )
    beyond = np.where(reached, np.nan, np.exp(logarithms).max(axis=0))
    series = [
        figures.Series("measured", steps, center, low, high, "points", style=0),
        figures.Series("not reached on some seed: more than", steps, beyond, kind="published"),
    ]
    if found.fitted is not None:
        mean = np.exp(np.log(found.fitted * at_numbers).mean(axis=0))
        series.append(figures.Series("fit", found.numbers, mean, kind="fit"))
    return figures.Panel(
        series,
        x_label="inner steps N",
        y_label=label,
        title=title,
        log_x=True,
        log_y=True,
        ticks=[int(steps) for steps in found.reach.inner_steps],
    )


def tables(frame: pd.DataFrame) -> list[Table]:
    """The minima of each condition, and the costs of each N."""
    import pandas as pd

    minima, costs = [], []
    for one in CONDITIONS:
        found = _find(one, frame)
        if found is None:
            continue
        least = found.minima()
        minima.append(
            {
                "condition": one.label,
                "given loss (nats)": found.loss,
                "a (ms)": 1000 * found.time.start if found.time else math.nan,
                "b (ms)": 1000 * found.time.step if found.time else math.nan,
                "best N, evaluations": _place(least, EVALUATIONS),
                "depth, evaluations": _depth(least, EVALUATIONS),
                "best N, seconds": _place(least, SECONDS),
                "depth, seconds": _depth(least, SECONDS),
            }
        )
        costs.append(_cost_table(one, found))
    if not minima:
        return []
    return [
        Table(
            "Where the cost is least",
            pd.DataFrame(minima),
            "Best N: of the fit, over all whole N of the range; the smallest and the largest of the seeds. The depth "
            "is the cost of the better end of the range in units of that of the moderate N that is best on the other "
            "seeds (on the very seed, where it refutes), with its interval over seeds: below 1 an end is better. The "
            f"time of a meta-step is a + b N. Seconds are judged by {_IN_TIME}.",
        ),
        Table(
            "Every N",
            pd.concat(costs, ignore_index=True),
            "To the given loss, over the tasks of all meta-steps; intervals over seeds. Where a seed never got "
            "there, a lower limit. q^N is (1 - alpha lambda)^N.",
        ),
    ]


def _place(minima: dict[str, Minimum], key: str) -> str:
    if key not in minima:
        return "-"
    least, most = minima[key].places.min(), minima[key].places.max()
    return f"{least}" if least == most else f"{least} to {most}"


def _depth(minima: dict[str, Minimum], key: str) -> Interval | str:
    return minima[key].depth if key in minima else "-"


def _cost_table(condition: Condition, found: _Found) -> pd.DataFrame:
    import pandas as pd

    from anil_tf.theory import complexity

    batch = int(found.rows["meta_batch_size"].iloc[0])
    seconds = sweeps.seconds_per_meta_step(found.rows)
    rows = []
    for place, steps in enumerate(int(number) for number in found.reach.inner_steps):
        counts = complexity.formula("anil", steps)
        per_step = {
            "meta-steps": 1.0,
            "gradients": batch * counts.gradients,
            "Hessian-vector and mixed products": batch * (counts.hessian_vector + counts.mixed),
            "body passes": float(batch),
            "seconds": seconds[place],
        }
        cost = {name: sweeps.cost_of(found.reach, place, each) for name, each in per_step.items()}
        power = sweeps.contraction(found.rows[found.rows["inner_steps"] == steps], steps)
        rows.append({"condition": condition.label, "N": steps, "q^N": power, **cost})
    return pd.DataFrame(rows)


EXPERIMENT = Experiment(
    name=NAME,
    title="What a given loss costs: meta-steps, evaluations, seconds",
    question=QUESTION,
    rules=RULES,
    cells=cells,
    judge=judge,
    draw=draw,
    tables=tables,
)
