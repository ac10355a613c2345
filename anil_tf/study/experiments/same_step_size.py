"""Experiment 3: both geometries at the same inner step size, as a reviewer of the paper asked."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING

import numpy as np

from anil_tf.study import statistics
from anil_tf.study.cell import Cell
from anil_tf.study.claims import INCONCLUSIVE, NOT_RUN, Claim, Picture, Rule, Table, Verdict
from anil_tf.study.experiment import Data, Experiment
from anil_tf.study.experiments import nonconvex, strongly_convex, sweeps
from anil_tf.study.experiments.sweeps import LEVEL, PROGRESS, Condition
from anil_tf.study.scale import Scale
from anil_tf.study.statistics import Interval

if TYPE_CHECKING:
    import pandas as pd

NAME = "same_step_size"
INNER_L2 = 0.5  # the strongest convexity that the paper's settings reach
# With 32 filters L is 31 to 43 at the start (on seed 0), and the bounds end at 2/(L + mu).
SAFE_STEP = 0.02

# Strongly convex, nonconvex. At the larger step the nonconvex runs are those of the second experiment.
PAIRS: tuple[tuple[Condition, Condition], ...] = tuple(
    (Condition(INNER_L2, alpha), Condition(0.0, alpha, adapted_layers=2))
    for alpha in (SAFE_STEP, nonconvex.SMALL_STEP)
)

_READINGS = {
    LEVEL: ("difference", "", "ln(training loss)"),
    PROGRESS: ("learning", ", its head start set aside", "ln(training loss / that at meta-step 0)"),
}
_SLOPE = (
    "the least-squares slope of mean {loss} over the meta-steps (the area under the curve) against "
    "log2 N, on each seed, over the N that both geometries ran"
)
_NOTES = (
    f" {sweeps.DIVERGED} Where, on the strongly convex side and on some seed, alpha exceeds 2/(L + mu) at the initial "
    f"weights, or q^20 = (1 - alpha lambda)^20 exceeds {strongly_convex.MOST_CONTRACTION:g}, the design cannot tell: "
    "inconclusive."
)


def _rules() -> dict[str, Rule]:
    rules = {}
    for convex, _ in PAIRS:
        rules[f"signs: {convex.alpha}"] = Rule(
            f"At the same {convex.alpha}, a larger N is faster per meta-step if strongly convex, and slower if "
            "nonconvex.",
            f"Two slopes, one for each geometry: {_SLOPE.format(loss='ln(training loss)')}. Supported if the whole "
            "95 % interval over seeds lies below 0 for the strongly convex one and above 0 for the nonconvex one; not "
            "supported if one of the two lies wholly on the other side of 0; else inconclusive. The number shown is "
            f"the nonconvex slope.{_NOTES}",
            "nonconvex: training loss for each doubling of N",
            "%",
        )
        for key, aside, loss in _READINGS.values():
            rules[f"{key}: {convex.alpha}"] = Rule(
                f"At the same {convex.alpha}, a larger N serves the strongly convex inner loss better than the "
                f"nonconvex one{aside}.",
                "The strongly convex slope minus the nonconvex one, seed by seed; a slope is "
                f"{_SLOPE.format(loss=loss)}. Supported if the whole 95 % interval over seeds lies below 0, not "
                f"supported if it lies above 0, else inconclusive.{_NOTES}",
                f"strongly convex minus nonconvex, training loss{aside and ' relative to its start'} for each "
                "doubling of N",
                "%",
            )
    return rules


RULES = _rules()

QUESTION = f"""\
The paper's nonconvex runs always take a larger inner step than its strongly convex ones, and a reviewer asked for
both at the same one. If "faster with N" and "slower with N" are about the geometry, the contrast must survive.

**The set-up.** One adapted layer with lambda = {INNER_L2:g}, and two adapted layers without an l2 term, both at
alpha = {SAFE_STEP:g} and both at alpha = {nonconvex.SMALL_STEP:g}. Everything else is equal: initial weights, tasks,
body, optimizer, number of meta-steps. Two statements are judged at each alpha: that the signs are what the paper
says, and the weaker one, that a larger N serves the strongly convex geometry better, the latter with and without the
head start that a larger N has before anything is learned.

**How far the theory reaches.** Its bounds want alpha up to 2/(L + mu). The table prints that limit beside alpha;
beyond it gradient descent need not contract, however strongly convex the loss is, and what is measured says nothing
about the theorem: that is why the larger steps of the second experiment have no partner here.
"""


def cells(scale: Scale, data: Data) -> list[Cell]:
    """A run for each pair, geometry, seed and N."""
    runs = []
    for convex, other in PAIRS[1:] if scale.name == "smoke" else PAIRS:
        for one in (convex, other):
            runs += sweeps.training_cells(
                one,
                scale,
                data,
                inner_steps=None if one in nonconvex.CONDITIONS else few(scale.inner_steps),
                meta_steps=nonconvex.meta_steps(scale),
            )
    return runs


def few(inner_steps: tuple[int, ...]) -> tuple[int, ...]:
    """The smallest, the middle and the largest N: a slope needs no more."""
    steps = sorted(inner_steps)
    return tuple(sorted({steps[0], steps[(len(steps) - 1) // 2], steps[-1]}))


# ---- Verdicts ------------------------------------------------------------------------------------------------------


def judge(frame: pd.DataFrame) -> list[Claim]:
    """One claim for each rule."""
    found = {}
    for convex, other in PAIRS:
        rows = _in_both(convex.rows(frame), other.rows(frame))
        reason = _beyond(rows[0])
        judged = {f"signs: {convex.alpha}": _signs(*rows)} | {
            f"{key}: {convex.alpha}": _difference(*rows, reading)
            for reading, (key, *_) in _READINGS.items()
        }
        for key, (interval, verdict) in judged.items():
            found[key] = interval, INCONCLUSIVE if reason else verdict, reason
    return [rule.claimed(NAME, *found[key]) for key, rule in RULES.items()]


def _beyond(convex: pd.DataFrame) -> str:
    """Why the theory says nothing of the strongly convex runs; "" if it does."""
    if convex.empty:
        return NOT_RUN
    alpha, limit = convex["alpha"].max(), sweeps.largest_step_size(convex)
    return f"2/(L + mu) = {limit:.3g}" if alpha > limit else strongly_convex.unseen(convex)


def _in_both(convex: pd.DataFrame, other: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of those N that both geometries ran."""
    shared = np.intersect1d(convex["inner_steps"], other["inner_steps"])
    return convex[convex["inner_steps"].isin(shared)], other[other["inner_steps"].isin(shared)]


def _signs(convex: pd.DataFrame, other: pd.DataFrame) -> tuple[Interval, Verdict]:
    slope = sweeps.trend(other, LEVEL)
    faster = statistics.decide(sweeps.trend(convex, LEVEL), expected="below", than=0.0)
    slower = statistics.decide(slope, expected="above", than=0.0)
    return slope, statistics.all_of([faster, slower])


def _difference(
    convex: pd.DataFrame, other: pd.DataFrame, reading: str
) -> tuple[Interval, Verdict]:
    slopes = sweeps.slopes(convex, reading), sweeps.slopes(other, reading)
    if len(slopes[0]) != len(slopes[1]):
        return sweeps.UNKNOWN, INCONCLUSIVE
    difference = statistics.paired(*slopes).map(sweeps.percent)
    return difference, statistics.decide(difference, expected="below", than=0.0)


# ---- Pictures and tables -------------------------------------------------------------------------------------------


def draw(frame: pd.DataFrame, folder: pathlib.Path) -> list[Picture]:
    """How the training loss depends on N in both geometries, and the curves."""
    from anil_tf.study import figures

    parts = _parts(frame)
    if not parts:
        return []
    trends = sweeps.draw_trends(parts, folder, "Both geometries at the same inner step size")
    figures.draw(
        sweeps.loss_panels(parts),
        folder / "loss.png",
        title="Left strongly convex, right nonconvex",
        columns=2,
    )
    caption = (
        "Training loss on fixed tasks against meta-steps, a curve for each N; the two panels of a row have the "
        "same alpha. Bands are the range of the seeds."
    )
    return [trends, Picture("loss.png", caption)]


def tables(frame: pd.DataFrame) -> list[Table]:
    """The slopes of both geometries at each alpha, and the cells."""
    import pandas as pd

    parts = _parts(frame)
    if not parts:
        return []
    slopes = [
        {
            "condition": one.label,
            "alpha": rows["alpha"].median(),
            "2/(L + mu)": sweeps.largest_step_size(rows),
            "the same, at the end": sweeps.largest_step_size(rows, end=True),
            "q^20": sweeps.contraction(rows, 20) if one.adapted_layers == 1 else float("nan"),
            "loss per doubling of N (%)": sweeps.trend(rows, LEVEL),
            "its start set aside (%)": sweeps.trend(rows, PROGRESS),
            "diverged runs": rows.loc[sweeps.diverged(rows), "cell"].nunique(),
        }
        for one, rows in parts.items()
    ]
    cells_ = [
        sweeps.cell_table(one, sweeps.with_seconds(rows, frame)) for one, rows in parts.items()
    ]
    return [
        Table(
            "Every condition",
            pd.DataFrame(slopes),
            "Over the N that both geometries ran; a negative slope is faster. L is the largest over tasks, seeds and, "
            "at the end of training, N.",
        ),
        Table(
            "Every cell",
            pd.concat(cells_, ignore_index=True).dropna(axis="columns", how="all"),
            sweeps.CELL_NOTE,
        ),
    ]


def _parts(frame: pd.DataFrame) -> dict[Condition, pd.DataFrame]:
    """The rows of each condition that ran, pair by pair."""
    parts = {}
    for pair in PAIRS:
        rows = _in_both(*(one.rows(frame) for one in pair))
        parts.update({one: part for one, part in zip(pair, rows, strict=True) if not part.empty})
    return parts


EXPERIMENT = Experiment(
    name=NAME,
    title="The same inner step size in both geometries",
    question=QUESTION,
    rules=RULES,
    cells=cells,
    judge=judge,
    draw=draw,
    tables=tables,
)
