"""Sweeps over N, the number of inner steps: what the experiments about it share.

A condition is all that stays fixed while N varies: how many layers adapt, lambda, alpha, the body. Within a condition
and a seed all N begin with the same weights and see the same tasks, so that differences between N are paired; the seed
is the unit of every interval. Two readings of "converges faster", since a larger N has adapted further before anything
was learned:

    level       ln of the training loss, averaged over the meta-steps: what a figure of training curves shows
    progress    the same, minus its value at meta-step 0: what learning alone has brought

Neither is neutral. The level favours a larger N, which is ahead from the start; the progress favours a smaller one,
which has further to fall until both meet the same floor. A run that diverged counts, from there on, as the loss of
chance, ln(ways), or as that at its start where it is higher: nothing was learned.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd

from anil_tf.study import figures, results, statistics
from anil_tf.study.cell import Cell, Scalar
from anil_tf.study.claims import NOT_SUPPORTED, SUPPORTED, Claim, Gate, Measured, Test
from anil_tf.study.experiment import Data, Picture, Table
from anil_tf.study.figures import Panel
from anil_tf.study.scale import Scale
from anil_tf.study.statistics import UNKNOWN, Interval

TRAINING, TIMING = "training.run", "timing.run"  # kinds of cells
LEVEL, PROGRESS = "level", "progress"
OUTER_STEP_SIZE = 1e-3  # Adam, as in the nearest public scripts of the paper's authors

# The statistics in words, for the rules.
SLOPE = (
    "ln of the training loss on fixed tasks, averaged over all meta-steps (the area under the curve); its least "
    "squares slope against log2 N on each seed, all N from the same weights on the same tasks."
)
SLOPE_OF_PROGRESS = (
    "The same for ln(loss at meta-step k / loss at meta-step 0): each curve counts from its own start, where a larger "
    "N is ahead without having learned anything. Being ahead leaves less to fall, so this leans against the claim."
)
DIVERGED = "A run that diverged counts, from there on, as chance, ln(ways), or as its own start where that is higher."
GIVEN_LOSS = (
    "The given training loss lies midway, in logarithms, between the lowest at any run's start and the lowest that "
    "some N reaches on every seed."
)


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
        geometry = f"lambda = {self.inner_l2:g}" if self.adapted_layers == 1 else "two layers"
        smooth = ", smooth body" if self.body == "smooth_conv4" else ""
        return f"{geometry}, {self.alpha}{smooth}"

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
        sizes = rows["inner_step_size"]
        if isinstance(self.inner_step_size, str):
            return _with_readings(rows[sizes == self.inner_step_size])
        numbers = pd.to_numeric(sizes, errors="coerce").astype(float)
        factor = rows["inner_steps"] if self.per_step else 1
        return _with_readings(rows[np.isclose(numbers * factor, self.inner_step_size)])


def under(
    condition: Condition, statistic: Callable
) -> Callable[[pd.DataFrame], Interval | Measured | None]:
    """A statistic of the results from one of a condition's rows; None where a scale leaves the condition out."""

    def found(frame: pd.DataFrame) -> Interval | Measured | None:
        rows = condition.rows(frame)
        return None if rows.empty else statistic(rows)

    return found


def by_condition(
    conditions: Iterable[Condition], frame: pd.DataFrame
) -> dict[Condition, pd.DataFrame]:
    """The rows of each condition that ran, with their seconds."""
    parts = {one: with_seconds(one.rows(frame), frame) for one in conditions}
    return {one: rows for one, rows in parts.items() if not rows.empty}


# ---- Cells ---------------------------------------------------------------------------------------------------------


def training_cells(
    condition: Condition,
    scale: Scale,
    data: Data,
    *,
    inner_steps: Sequence[int] | None = None,
    meta_steps: int | None = None,
) -> list[Cell]:
    """A training run for each seed and N.

    Args:
        condition: what they share.
        scale: the sizes; its seeds.
        data: the data set.
        inner_steps: the N; None takes the scale's.
        meta_steps: K; None takes the scale's.
    """
    return [
        Cell(
            TRAINING,
            {
                **_learner_settings(condition, scale, data, steps, seed),
                "meta_steps": meta_steps or scale.meta_steps,
                "checkpoints": scale.checkpoints,
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
    return statistics.by_seed(
        rows, "inner_steps", lambda run: statistics.area_under(run["meta_step"], run[reading])
    )


def slopes(rows: pd.DataFrame, reading: str) -> np.ndarray:
    """Ln of the training loss per doubling of N, by least squares on the heights of each seed, [seeds]."""
    steps, found = heights(rows, reading)
    return statistics.slopes(np.log2(steps), found) if len(steps) > 1 else np.array([])


def trend(rows: pd.DataFrame, reading: str) -> Interval:
    """The change of the training loss for each doubling of N, in per cent of the loss; negative is faster."""
    return statistics.mean(slopes(rows, reading)).map(percent)


def difference(first: pd.DataFrame, second: pd.DataFrame, reading: str) -> Interval:
    """The trend of one condition minus that of another, seed by seed, in per cent; unknown if seeds are missing."""
    pair = slopes(first, reading), slopes(second, reading)
    return statistics.paired(*pair).map(percent) if len(pair[0]) == len(pair[1]) else UNKNOWN


def trend_at_end(rows: pd.DataFrame, column: str) -> Interval:
    """The change of what the runs end with for each doubling of N, in units of the column."""
    steps, found = statistics.by_seed(rows, "inner_steps", lambda run: run[column].iloc[-1])
    return statistics.trend(np.log2(steps), found) if len(steps) > 1 else UNKNOWN


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
    known = rows[rows["meta_step"] > 0] if end else rows
    return float((2.0 / (known[name] + known["inner_l2"])).min())


def contraction(rows: pd.DataFrame, inner_steps: int = 20) -> float:
    """q^N for a linear softmax head, q = 1 - alpha lambda: the largest over the seeds; nan without rows."""
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
    """The training loss to which the N of a condition race, in nats; nan if nothing was learned: `GIVEN_LOSS`."""
    start = rows.loc[rows["meta_step"] == 0, "level"].min()
    reached = rows.groupby("seed")["level"].min().max()
    return math.exp((start + reached) / 2) if reached < start else math.nan


def steps_to(rows: pd.DataFrame, loss: float) -> Reach:
    """The meta-steps that each run takes to a training loss.

    Args:
        rows: of one condition.
        loss: in nats, below all losses at meta-step 0.
    """

    def place(run: pd.DataFrame) -> float:
        return statistics.first_step_below(run["meta_step"], run["level"], math.log(loss))

    steps, found = statistics.by_seed(rows, "inner_steps", place)
    ends = statistics.by_seed(rows, "inner_steps", lambda run: run["meta_step"].max())[1]
    return Reach(steps, np.where(np.isnan(found), ends, found), np.isfinite(found))


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


MODERATE = (
    "The moderate N lies between the two ends of the range; for each seed it is the best of the other seeds on "
    "average. The number is the cost of an end over that of the moderate N, a geometric mean, of the end that comes "
    "closer. A verdict against the claim needs an end that got there on every seed, beside the N that is best on the "
    "very seed; one for it a moderate N that got there. An end that never gets there counts with all that its run "
    "cost, which is too little."
)


def interior_against_ends(cost: np.ndarray, reached: np.ndarray) -> Measured:
    """The cost of the smallest and the largest N over that of one between, to be tested for lying above 1.

    The N between is chosen by the other seeds, so that the choice does not flatter itself, see `MODERATE`.

    Args:
        cost: [seeds, points], positive, in ascending order of N.
        reached: [seeds, points], whether the cost is known, or only that it is higher.

    Returns:
        The ratio of the end that refutes the claim, or else of the one that comes closer.
    """
    if cost.shape[0] == 0 or cost.shape[1] < 3 or not np.isfinite(cost).all():
        return Measured(UNKNOWN)
    logarithms = np.log(cost)
    interior = logarithms[:, 1:-1]
    for end in (0, -1):
        against = statistics.paired(logarithms[:, end], interior.min(axis=1)).map(math.exp)
        if reached[:, end].all() and against.high < 1:
            return Measured(against, decides=(NOT_SUPPORTED,))
    seeds, chosen = np.arange(len(cost)), _best_of_the_others(interior)
    margins = [
        statistics.paired(logarithms[:, end], interior[seeds, chosen]).map(math.exp)
        for end in (0, -1)
    ]
    closest = min(margins, key=lambda margin: margin.low if len(cost) > 1 else margin.center)
    is_known = reached[:, 1:-1][seeds, chosen].all()
    return Measured(closest, decides=(SUPPORTED,) if is_known else ())


def _best_of_the_others(interior: np.ndarray) -> np.ndarray:
    """For each seed the column with the lowest mean over all other seeds; a single seed has but itself."""
    if len(interior) == 1:
        return interior.argmin(axis=1)
    others = (interior.sum(axis=0) - interior) / (len(interior) - 1)
    return others.argmin(axis=1)


# ---- What readers see ----------------------------------------------------------------------------------------------

Parts = Callable[
    [pd.DataFrame], dict[Condition, pd.DataFrame]
]  # of the results, such as `by_condition`
_CURVES = (
    ("train_loss", "training loss (nats)", 1.0),
    ("train_accuracy", "accuracy, training classes (%)", 100.0),
    ("test_accuracy", "accuracy, test classes (%)", 100.0),
)
_X_LABELS = {"meta_step": "meta-steps", "seconds": "running time (s)"}


def slope_claim(
    condition: Condition,
    *,
    name: str,
    text: str,
    said_by: str,
    reading: str,
    test: Test,
    gate: Gate | None = None,
) -> Claim:
    """The claim that training is faster, or slower, with a larger N under one condition; see `trend`."""
    aside = f" {SLOPE_OF_PROGRESS}" if reading == PROGRESS else ""
    return Claim(
        key=f"{name}: {condition.label}",
        text=text,
        said_by=said_by,
        statistic=under(condition, lambda rows: trend(rows, reading)),
        words=f"{SLOPE}{aside} {DIVERGED}",
        test=test,
        number=f"training loss {aside and 'relative to its start, '}for each doubling of N",
        unit="%",
        condition=condition.label,
        gate=gate,
    )


def loss_picture(parts: Parts, title: str) -> Picture:
    """The training loss of each condition against meta-steps, a curve for each N."""
    return Picture(
        "loss.png",
        title,
        "Training loss on fixed tasks against meta-steps, a curve for each number of inner steps N; bands are the "
        "range of the seeds. Runs that diverged end early.",
        lambda frame: [
            _curve_panel(rows, "meta_step", *_CURVES[0], one.label)
            for one, rows in parts(frame).items()
        ],
    )


def course_pictures(parts: Parts, title: str) -> list[Picture]:
    """Loss and both accuracies side by side, against meta-steps and against seconds, a row for each condition."""

    def panels(frame: pd.DataFrame, x: str) -> list[Panel]:
        return [
            _curve_panel(rows, x, *curve, one.label)
            for one, rows in parts(frame).items()
            if rows[x].notna().any()
            for curve in _CURVES
        ]

    return [
        Picture(
            f"courses_{x}.png",
            title,
            f"Training loss and the accuracy on training and on test classes against {against}. Bands are the range of "
            "the seeds.",
            functools.partial(panels, x=x),
            columns=len(_CURVES),
        )
        for x, against in (("meta_step", "meta-steps"), ("seconds", "running time when idle"))
    ]


def _curve_panel(
    rows: pd.DataFrame, x: str, y: str, y_label: str, scale: float, title: str
) -> Panel:
    chance = math.log(rows["ways"].iloc[0]) if y == "train_loss" else 100.0 / rows["ways"].iloc[0]
    return Panel(
        figures.curves(rows, x=x, y=y, by="inner_steps", label="N = {}", scale=scale),
        x_label=_X_LABELS[x],
        y_label=y_label,
        title=title,
        lines={"chance": chance},
        # Runs that explode would flatten all others.
        y_limits=(0.95 * rows[y].min(), 1.6 * chance) if y == "train_loss" else (None, None),
    )


def trend_picture(parts: Parts, title: str) -> Picture:
    """How the height of the training curves depends on N, in both readings; a line for each condition."""
    readings = {
        LEVEL: ("mean training loss (nats)", "as it is"),
        PROGRESS: ("mean loss / loss at meta-step 0", "relative to its start"),
    }

    def panels(frame: pd.DataFrame) -> list[Panel]:
        found = parts(frame)
        return [
            Panel(
                [_heights_series(part, reading, one.label) for one, part in found.items()],
                x_label="inner steps N",
                y_label=label,
                title=panel_title,
                log_x=True,
                ticks=sorted({int(n) for part in found.values() for n in part["inner_steps"]}),
            )
            for reading, (label, panel_title) in (readings.items() if found else ())
        ]

    return Picture(
        "trends.png",
        title,
        "The height of the training curves against N (geometric means over the meta-steps, 95 % intervals over seeds). "
        "Downwards is faster. On the right each curve counts from its own start, so that what a larger N owes to "
        "adapting further in each task is set aside.",
        panels,
    )


def _heights_series(rows: pd.DataFrame, reading: str, label: str) -> figures.Series:
    steps, found = heights(rows, reading)
    return figures.points(label, steps, [statistics.mean(one).map(math.exp) for one in found.T])


def condition_table(parts: dict[Condition, pd.DataFrame]) -> Table | None:
    """How the loss of each condition depends on N, its step size beside what the theory allows, and lost runs."""
    lines = []
    for one, rows in parts.items():
        last = rows[rows["meta_step"] == rows["meta_step"].max()]
        accuracy = rows.assign(points=100 * rows["test_accuracy"])
        lines.append(
            {
                "condition": one.label,
                "alpha": rows["alpha"].median(),
                "2/(L + mu)": largest_step_size(rows),
                "the same, at the end": largest_step_size(rows, end=True),
                "q^20": contraction(rows) if one.adapted_layers == 1 else math.nan,
                "loss per doubling of N (%)": trend(rows, LEVEL),
                "its start set aside (%)": trend(rows, PROGRESS),
                "loss at the end (%)": trend_at_end(rows, LEVEL).map(percent),
                "test accuracy at the end (points)": trend_at_end(accuracy, "points"),
                "runs": rows["cell"].nunique(),
                "diverged": rows.loc[diverged(rows), "cell"].nunique(),
                "end above chance": int(
                    (last["train_loss"] > np.log(last["ways"].astype(float))).sum()
                ),
            }
        )
    note = (
        "For each doubling of N; a negative slope of a loss is faster. Up to alpha = 2/(L + mu) an inner step "
        "contracts by q; L is the largest over tasks, seeds and, at the end of training, N. Runs that end above chance "
        "have not diverged, and a loss above ln(ways)."
    )
    return Table("Every condition", _filled(lines), note) if lines else None


def cell_table(parts: dict[Condition, pd.DataFrame]) -> Table | None:
    """A row for each condition and N: alpha, q^N, where the runs end, and how long they take to the given loss."""
    lines = []
    for one, rows in parts.items():
        loss = threshold(rows)
        reach = steps_to(rows, loss) if math.isfinite(loss) else None
        seconds = seconds_per_meta_step(rows)
        for place, (steps, part) in enumerate(rows.groupby("inner_steps")):
            last = part[part["meta_step"] == part["meta_step"].max()]
            power = contraction(last, int(steps)) if one.adapted_layers == 1 else math.nan
            lines.append(
                {
                    "condition": one.label,
                    "N": int(steps),
                    "alpha": last["alpha"].astype(float).median(),
                    "q^N": power,
                    "training loss (nats)": statistics.mean(last["train_loss"]),
                    "training accuracy (%)": statistics.mean(100 * last["train_accuracy"]),
                    "test accuracy (%)": statistics.mean(100 * last["test_accuracy"]),
                    "diverged": int(diverged(last).sum()),
                    "given loss (nats)": loss,
                    "K to it": _cost_of(reach, place),
                    "ms per meta-step": 1000 * seconds[place],
                    "seconds to it": _cost_of(reach, place, seconds[place]),
                }
            )
    note = (
        "The last checkpoint of each cell: means over seeds with 95 % intervals. q^N is (1 - alpha lambda)^N, the "
        "contraction that the theory counts on. K is the number of meta-steps to the condition's given loss; where a "
        "seed never got there, K is beyond the run."
    )
    return Table("Every cell", _filled(lines), note) if lines else None


def _filled(lines: list[dict]) -> pd.DataFrame:
    """The columns in which something stands."""
    return pd.DataFrame(lines).dropna(axis="columns", how="all")


def _cost_of(reach: Reach | None, place: int, each: float = 1.0) -> Interval | str:
    """K of one N over the seeds, times what each meta-step costs; "> 300" if some seed is not there after 300."""
    if reach is None or math.isnan(each):
        return "-"
    if not reach.reached[:, place].all():
        return f"> {reach.meta_steps[:, place].max() * each:.3g}"
    return statistics.mean(reach.meta_steps[:, place] * each)
