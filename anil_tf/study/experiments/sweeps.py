"""Sweeps over N, the number of inner steps: what the experiments about it share.

A condition is all that stays fixed while N varies: how many layers adapt, lambda, alpha, the body. Within a condition
and a seed all N begin with the same weights and see the same tasks, so that differences between N are paired; the seed
is the unit of every interval. From the rows of a condition come the height of the training curve for each seed and N
(`heights`), its trend in N (`trend`), and the meta-steps to a loss (`threshold`, `steps_to`).

Two readings of "converges faster", since a larger N has adapted further before anything was learned:

    level       ln of the training loss, averaged over the meta-steps: what a figure of training curves shows
    progress    the same, minus its value at meta-step 0: what learning alone has brought

Neither is neutral. The level favours a larger N, which is ahead from the start; the progress favours a smaller one,
which has further to fall until both meet the same floor. A run that diverged counts, from there on, as the loss of
chance, ln(ways), or as that at its start where it is higher: nothing was learned.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from anil_tf.study import results, statistics
from anil_tf.study.cell import Cell, Scalar
from anil_tf.study.claims import INCONCLUSIVE, NOT_SUPPORTED, SUPPORTED, Picture, Verdict
from anil_tf.study.experiment import Data
from anil_tf.study.scale import Scale
from anil_tf.study.statistics import Interval

if TYPE_CHECKING:
    import pandas as pd

    from anil_tf.study.figures import Panel, Series

TRAINING, TIMING = "training.run", "timing.run"  # kinds of cells
LEVEL, PROGRESS = "level", "progress"
UNKNOWN = Interval(math.nan, -math.inf, math.inf, 0)
DIVERGED = "A run that diverged counts, from there on, as chance, ln(ways), or as its own start where that is higher."
OUTER_STEP_SIZE = 1e-3  # Adam, as in the nearest public scripts of the paper's authors


@dataclasses.dataclass(frozen=True)
class Condition:
    """What stays fixed while N varies.

    Attributes:
        inner_l2: lambda.
        inner_step_size: alpha, a number or a rule that `training.run` resolves; with `per_step` the c of alpha = c/N.
        per_step: whether alpha is inner_step_size / N.
        adapted_layers: 1 with lambda > 0 is the strongly convex geometry, 2 the nonconvex one.
        body: see `training.run`.
    """

    inner_l2: float
    inner_step_size: float | str
    per_step: bool = False
    adapted_layers: int = 1
    body: str = "conv4"

    @property
    def alpha(self) -> str:
        """Alpha, for readers."""
        size = self.inner_step_size
        number = size if isinstance(size, str) else f"{size:g}"
        return f"alpha = {number}/N" if self.per_step else f"alpha = {number}"

    @property
    def label(self) -> str:
        """The condition, for readers."""
        layers = "" if self.adapted_layers == 1 else "two layers, "
        smooth = ", smooth body" if self.body == "smooth_conv4" else ""
        regulariser = f"lambda = {self.inner_l2:g}, " if self.adapted_layers == 1 else ""
        return f"{layers}{regulariser}{self.alpha}{smooth}"

    def step_size(self, inner_steps: int) -> float | str:
        """Alpha of one cell, as `training.run` takes it."""
        if isinstance(self.inner_step_size, str):
            return self.inner_step_size
        return self.inner_step_size / inner_steps if self.per_step else self.inner_step_size

    def rows(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The training rows of this condition, in order, with the columns `level` and `progress`."""
        rows = frame[
            (frame["kind"] == TRAINING)
            & (frame["body"] == self.body)
            & (frame["adapted_layers"].astype(str) == str(self.adapted_layers))
            & np.isclose(frame["inner_l2"].astype(float), self.inner_l2)
        ]
        return _with_readings(rows[self._has_step_size(rows)])

    def _has_step_size(self, rows: pd.DataFrame) -> pd.Series:
        import pandas as pd

        sizes = rows["inner_step_size"]
        if isinstance(self.inner_step_size, str):
            return sizes == self.inner_step_size
        numbers = pd.to_numeric(sizes, errors="coerce").astype(float)
        factor = rows["inner_steps"] if self.per_step else 1
        return pd.Series(np.isclose(numbers * factor, self.inner_step_size), index=rows.index)


# ---- Cells ---------------------------------------------------------------------------------------------------------


def training_cells(
    condition: Condition,
    scale: Scale,
    data: Data,
    *,
    inner_steps: Sequence[int] | None = None,
    meta_steps: int | None = None,
    checkpoints: int | None = None,
) -> list[Cell]:
    """A training run for each seed and N.

    Args:
        condition: what they share.
        scale: the sizes; its seeds.
        data: the data set.
        inner_steps: the N; None takes the scale's.
        meta_steps: K; None takes the scale's.
        checkpoints: of each run; None takes the scale's.
    """
    return [
        Cell(
            TRAINING,
            {
                **_learner_settings(condition, scale, data, steps, seed),
                "meta_steps": meta_steps or scale.meta_steps,
                "checkpoints": checkpoints or scale.checkpoints,
                "evaluation_tasks": scale.evaluation_tasks,
            },
        )
        for seed in scale.seeds
        for steps in inner_steps or scale.inner_steps
    ]


def shortened(scale: Scale, share: float) -> int:
    """K of runs that are cut to a share of the scale's meta-steps, except at the paper's scale."""
    return scale.meta_steps if scale.name == "full" else max(2, round(share * scale.meta_steps))


def timing_cells(condition: Condition, scale: Scale, data: Data) -> list[Cell]:
    """A timing, alone on the machine, for each N: time depends neither on the seed nor on alpha and lambda."""
    return [
        Cell(
            TIMING,
            {
                **_learner_settings(condition, scale, data, steps, scale.seeds[0]),
                "repeats": scale.timing_steps,
            },
            alone=True,
        )
        for steps in scale.inner_steps
    ]


def _learner_settings(
    condition: Condition, scale: Scale, data: Data, inner_steps: int, seed: int
) -> dict[str, Scalar]:
    return {
        "dataset": data.dataset,
        "data_dir": data.data_dir,
        "body": condition.body,
        "filters": scale.filters,
        "ways": scale.ways,
        "shots": scale.shots,
        "queries": scale.queries,
        "meta_batch_size": scale.meta_batch_size,
        "adapted_layers": condition.adapted_layers,
        "inner_steps": inner_steps,
        "inner_step_size": condition.step_size(inner_steps),
        "inner_l2": condition.inner_l2,
        "differentiation": "explicit",
        "optimizer": "adam",
        "outer_step_size": OUTER_STEP_SIZE,
        "normalization": "episode",
        "seed": seed,
    }


# ---- Per meta-step -------------------------------------------------------------------------------------------------


def _with_readings(rows: pd.DataFrame) -> pd.DataFrame:
    rows = rows.sort_values(["seed", "inner_steps", "meta_step"])
    if rows.empty:
        return rows.assign(level=[], progress=[])
    chance = np.log(rows["ways"].astype(float))
    loss = rows["train_loss"].astype(float)
    runs = [rows["seed"], rows["inner_steps"]]
    at_start = loss.mask(rows["meta_step"] > 0).groupby(runs).transform("first")
    nothing_learned = np.fmax(chance, at_start)  # `fmax`: chance where the start is missing, too
    level = np.log(loss.mask(diverged(rows), nothing_learned))
    return rows.assign(level=level, progress=level - level.groupby(runs).transform("first"))


def diverged(rows: pd.DataFrame) -> pd.Series:
    """Whether a row comes from a run that has met a number that is not finite."""
    return rows["diverged"].astype(str) == "True"


def heights(rows: pd.DataFrame, reading: str) -> tuple[np.ndarray, np.ndarray]:
    """The mean height of each training curve over its meta-steps.

    Args:
        rows: of one condition, from `Condition.rows`.
        reading: `LEVEL` or `PROGRESS`.

    Returns:
        N, [points], and the heights, [seeds, points]; nan for a run that is missing.
    """
    return _by_seed(rows, lambda run: statistics.area_under(run["meta_step"], run[reading]))


def until(rows: pd.DataFrame, end: float) -> pd.DataFrame:
    """The curves cut off at a meta-step, on the straight line between their points.

    Args:
        rows: of one condition, from `Condition.rows`.
        end: the meta-step; none of the runs ends before.

    Returns:
        `seed`, `inner_steps`, `meta_step`, `level` and `progress` up to there.
    """
    import pandas as pd

    parts = []
    for (seed, steps), run in rows.groupby(["seed", "inner_steps"]):
        at = [*run.loc[run["meta_step"] < end, "meta_step"], end]
        readings = {name: np.interp(at, run["meta_step"], run[name]) for name in (LEVEL, PROGRESS)}
        parts.append(pd.DataFrame({"seed": seed, "inner_steps": steps, "meta_step": at} | readings))
    return pd.concat(parts, ignore_index=True)


def trend(rows: pd.DataFrame, reading: str) -> Interval:
    """The change of the training loss for each doubling of N, in per cent of the loss; negative is faster.

    Args:
        rows: of one condition.
        reading: `LEVEL` or `PROGRESS`.

    Returns:
        Least squares of the heights against log2 N on each seed, then Student's interval over the seeds.
    """
    return statistics.mean(slopes(rows, reading)).map(percent)


def trend_at_end(rows: pd.DataFrame, column: str) -> Interval:
    """The change of what the runs end with for each doubling of N, in units of the column.

    Args:
        rows: of one condition.
        column: such as "level" or "test_accuracy"; unknown where a run has no number at its last checkpoint.

    Returns:
        Least squares against log2 N on each seed, then Student's interval over the seeds.
    """
    steps, found = _by_seed(rows, lambda run: run[column].iloc[-1])
    return statistics.trend(np.log2(steps), found) if len(steps) > 1 else UNKNOWN


def slopes(rows: pd.DataFrame, reading: str) -> np.ndarray:
    """What `trend` is the mean of: ln of the training loss per doubling of N, [seeds]."""
    steps, found = heights(rows, reading)
    return statistics.slopes(np.log2(steps), found) if len(steps) > 1 else np.array([])


def percent(logarithm: float) -> float:
    """A difference of logarithms in per cent."""
    return 100.0 * math.expm1(logarithm)


def largest_step_size(rows: pd.DataFrame, end: bool = False) -> float:
    """2/(L + mu): up to this alpha an inner step contracts by q. L is the largest over tasks, and over the seeds.

    Args:
        rows: of a condition with one adapted layer.
        end: with L of the last checkpoint, the largest over all N, instead of that of the first.
    """
    name = "smoothness" if end else "smoothness_max"
    measured = rows[rows["meta_step"] > 0] if end else rows
    return float((2.0 / (measured[name] + measured["inner_l2"])).min())


def contraction(rows: pd.DataFrame, inner_steps: int = 20) -> float:
    """q^N for a linear softmax head, q = 1 - alpha lambda: the largest over the seeds; nan without rows."""
    if rows.empty:
        return math.nan
    factor = 1.0 - rows["alpha"].astype(float) * rows["inner_l2"].astype(float)
    return float((factor.abs() ** inner_steps).max())


# ---- To a given loss -----------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Reach:
    """How far each run had to go to a training loss.

    Attributes:
        inner_steps: N, [points].
        meta_steps: K, [seeds, points]: where the curve falls to the loss; where it never does, the run's length, than
            which K is longer; nan for a run that is missing.
        reached: whether it does, bool [seeds, points].
    """

    inner_steps: np.ndarray
    meta_steps: np.ndarray
    reached: np.ndarray


def threshold(rows: pd.DataFrame) -> float:
    """The training loss to which the N of a condition race; nan if nothing was learned.

    Midway, in logarithms, between the lowest loss that any run starts with, so that no N has won before the start, and
    the lowest that is reached on every seed by some N.

    Args:
        rows: of one condition.

    Returns:
        In nats.
    """
    start = rows.loc[rows["meta_step"] == 0, "level"].min()
    reached = rows.groupby("seed")["level"].min().max()
    return math.exp((start + reached) / 2) if reached < start else math.nan


def steps_to(rows: pd.DataFrame, loss: float) -> Reach:
    """The meta-steps that each run takes to a training loss.

    Args:
        rows: of one condition.
        loss: in nats, below all losses at meta-step 0.
    """
    found = _by_seed(
        rows,
        lambda run: statistics.first_step_below(run["meta_step"], run["level"], math.log(loss)),
    )
    ends = _by_seed(rows, lambda run: run["meta_step"].max())[1]
    return Reach(found[0], np.where(np.isnan(found[1]), ends, found[1]), np.isfinite(found[1]))


def with_seconds(rows: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of a condition with their seconds, see `results.with_seconds`; nan without timings."""
    name = "seconds_per_meta_step"
    timing = frame[frame["kind"] == TIMING]
    if timing.empty or rows.empty:
        return rows.assign(**{name: math.nan, "seconds": math.nan})
    return results.with_seconds(rows.drop(columns=name), timing)


def seconds_per_meta_step(rows: pd.DataFrame) -> np.ndarray:
    """What a meta-step takes with each N, [points]; from rows `with_seconds`."""
    return rows.groupby("inner_steps")["seconds_per_meta_step"].median().to_numpy(np.float64)


def interior_against_ends(cost: np.ndarray, reached: np.ndarray) -> tuple[Interval, Verdict]:
    """Whether some N between the smallest and the largest costs less than both.

    The interior N is chosen for each seed by the mean log cost of the other seeds, so that the choice does not flatter
    itself: the claim is supported if both ends cost more than it, with their whole intervals, and it got there on every
    seed. It is not supported if an end that got there on every seed costs less, with its whole interval, than even the
    interior N that is best on that very seed. An end that did not get there costs at least what is given, which is
    enough to compare with.

    Args:
        cost: [seeds, points], positive, in ascending order of N.
        reached: [seeds, points], whether the cost is known, or only that it is higher.

    Returns:
        The cost of the end that comes closer, as a multiple of the interior's, with its interval over seeds, and the
        verdict.
    """
    if cost.shape[0] == 0 or cost.shape[1] < 3 or not np.isfinite(cost).all():
        return UNKNOWN, INCONCLUSIVE
    logarithms = np.log(cost)
    ends, interior = logarithms[:, [0, -1]], logarithms[:, 1:-1]
    seeds = np.arange(len(cost))

    for end in (0, -1):
        against = statistics.paired(logarithms[:, end], interior.min(axis=1)).map(math.exp)
        if reached[:, end].all() and against.high < 1:
            return against, NOT_SUPPORTED
    chosen = _best_of_the_others(interior)
    margins = [
        statistics.paired(ends[:, end], interior[seeds, chosen]).map(math.exp) for end in (0, 1)
    ]
    closest = min(margins, key=lambda margin: margin.low if len(cost) > 1 else margin.center)
    is_known = reached[:, 1:-1][seeds, chosen].all()
    return closest, SUPPORTED if is_known and closest.low > 1 else INCONCLUSIVE


def _best_of_the_others(interior: np.ndarray) -> np.ndarray:
    """For each seed the column with the lowest mean over all other seeds; a single seed has but itself."""
    if len(interior) == 1:
        return interior.argmin(axis=1)
    others = (interior.sum(axis=0) - interior) / (len(interior) - 1)
    return others.argmin(axis=1)


def _by_seed(
    rows: pd.DataFrame, number: Callable[[pd.DataFrame], float]
) -> tuple[np.ndarray, np.ndarray]:
    """A number of each run, as [points] and [seeds, points]."""
    import pandas as pd

    found = [
        {"seed": seed, "inner_steps": steps, "number": number(run)}
        for (seed, steps), run in rows.groupby(["seed", "inner_steps"])
    ]
    if not found:
        return np.array([]), np.zeros([0, 0])
    return statistics.by_seed(pd.DataFrame(found), "inner_steps", "number")


# ---- What readers see ----------------------------------------------------------------------------------------------

CELL_NOTE = (
    "The last checkpoint of each cell: means over seeds with 95 % intervals. q^N is (1 - alpha lambda)^N, the "
    "contraction that the theory counts on; it says nothing of two adapted layers. K is the number of meta-steps "
    "to the condition's common loss; where a seed never got there, K is beyond the run."
)

_CURVES = (
    ("train_loss", "training loss (nats)", 1.0),
    ("train_accuracy", "accuracy, training classes (%)", 100.0),
    ("test_accuracy", "accuracy, test classes (%)", 100.0),
)
_X_LABELS = {"meta_step": "meta-steps", "seconds": "running time (s)"}


def loss_panels(parts: dict[Condition, pd.DataFrame], x: str = "meta_step") -> list[Panel]:
    """The training loss of each condition, a curve for each N.

    Args:
        parts: rows of each condition.
        x: "meta_step" or "seconds".
    """
    return [_curve_panel(rows, x, *_CURVES[0], title=one.label) for one, rows in parts.items()]


def draw_courses(
    parts: dict[Condition, pd.DataFrame], folder: pathlib.Path, file: str, title: str, x: str
) -> Picture:
    """Draws loss and both accuracies, side by side, with a row for each condition.

    Args:
        parts: rows of each condition; for seconds, from `with_seconds`.
        folder: where to.
        file: the name of the picture.
        title: above it.
        x: "meta_step" or "seconds".
    """
    from anil_tf.study import figures

    panels = [
        _curve_panel(rows, x, *curve, title=one.label)
        for one, rows in parts.items()
        for curve in _CURVES
    ]
    figures.draw(panels, folder / file, title=title, columns=len(_CURVES))
    against = {"meta_step": "meta-steps", "seconds": "running time on an idle machine"}[x]
    return Picture(
        file,
        f"{title}: training loss and the accuracy on training and on test classes against {against}. Bands are "
        "the range of the seeds.",
    )


def _curve_panel(
    rows: pd.DataFrame, x: str, y: str, y_label: str, scale: float, *, title: str
) -> Panel:
    from anil_tf.study import figures

    chance = math.log(rows["ways"].iloc[0]) if y == "train_loss" else 100.0 / rows["ways"].iloc[0]
    return figures.Panel(
        figures.curves(rows, x=x, y=y, by="inner_steps", label="N = {}", scale=scale),
        x_label=_X_LABELS[x],
        y_label=y_label,
        title=title,
        lines={"chance": chance},
        # Runs that explode would flatten all others.
        y_limits=(0.95 * rows[y].min(), 1.6 * chance) if y == "train_loss" else (None, None),
    )


def draw_trends(parts: dict[Condition, pd.DataFrame], folder: pathlib.Path, title: str) -> Picture:
    """Draws how the height of the training curves depends on N, in both readings, into trends.png."""
    from anil_tf.study import figures

    panels = [
        figures.Panel(
            [_heights_series(part, reading, one.label) for one, part in parts.items()],
            x_label="inner steps N",
            y_label=label,
            title=found,
            log_x=True,
            ticks=sorted({int(steps) for part in parts.values() for steps in part["inner_steps"]}),
        )
        for reading, label, found in (
            (LEVEL, "mean training loss (nats)", "as it is"),
            (PROGRESS, "mean training loss / loss at meta-step 0", "relative to its start"),
        )
    ]
    figures.draw(panels, folder / "trends.png", title=title)
    return Picture(
        "trends.png",
        f"{title}: the height of the training curves against N (geometric means over the meta-steps, 95 % "
        "intervals over seeds). Downwards is faster. On the right each curve counts from its own start, so that "
        "what a larger N owes to adapting further in each task is set aside.",
    )


def _heights_series(rows: pd.DataFrame, reading: str, label: str) -> Series:
    """The geometric mean height of the training curves against N, with its interval over seeds."""
    from anil_tf.study import figures

    steps, found = heights(rows, reading)
    intervals = [statistics.mean(column).map(math.exp) for column in found.T]
    return figures.Series(
        label,
        steps,
        [one.center for one in intervals],
        [one.low for one in intervals],
        [one.high for one in intervals],
        "points",
    )


def cell_table(condition: Condition, rows: pd.DataFrame) -> pd.DataFrame:
    """A row for each N: alpha, q^N, where the runs end, and how long they take to the common loss.

    Args:
        condition: named in the first column.
        rows: its rows, `with_seconds`.
    """
    import pandas as pd

    loss = threshold(rows)
    reach = steps_to(rows, loss) if math.isfinite(loss) else None
    seconds = seconds_per_meta_step(rows)
    found = []
    for place, (steps, part) in enumerate(rows.groupby("inner_steps")):
        last = part[part["meta_step"] == part["meta_step"].max()]
        cell = {
            "condition": condition.label,
            "N": int(steps),
            "alpha": last["alpha"].astype(float).median(),
            "q^N": contraction(last, int(steps)) if condition.adapted_layers == 1 else math.nan,
            "training loss (nats)": statistics.mean(last["train_loss"]),
            "training accuracy (%)": statistics.mean(100 * last["train_accuracy"]),
            "test accuracy (%)": statistics.mean(100 * last["test_accuracy"]),
            "diverged": int(diverged(last).sum()),
            "common loss (nats)": loss,
            "K to it": cost_of(reach, place),
            "ms per meta-step": 1000 * seconds[place],
            "seconds to it": cost_of(reach, place, seconds[place]),
        }
        found.append(cell)
    return pd.DataFrame(found)


def cost_of(reach: Reach | None, place: int, each: float = 1.0) -> Interval | str:
    """K of one N over the seeds, times what each meta-step costs; "> 300" if some seed is not there after 300."""
    if reach is None or math.isnan(each):
        return "-"
    if not reach.reached[:, place].all():
        return f"> {reach.meta_steps[:, place].max() * each:.3g}"
    return statistics.mean(reach.meta_steps[:, place] * each)
