"""Experiment 3: both geometries at the same inner step size, as a reviewer of the paper asked."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING

import numpy as np

from anil_tf.study import statistics
from anil_tf.study.cell import Cell
from anil_tf.study.claims import INCONCLUSIVE, Claim, Picture, Rule, Table, Verdict
from anil_tf.study.experiment import Data, Experiment
from anil_tf.study.experiments import nonconvex, strongly_convex, sweeps
from anil_tf.study.experiments.sweeps import LEVEL, PROGRESS, Condition
from anil_tf.study.scale import Scale
from anil_tf.study.statistics import Interval

if TYPE_CHECKING:
    import pandas as pd

NAME = "same_step_size"
INNER_L2 = 0.5  # the strongest convexity of the first experiment

# Strongly convex, nonconvex: the runs of the latter are those of the second experiment.
PAIRS: tuple[tuple[Condition, Condition], ...] = (
    (Condition(INNER_L2, nonconvex.SMALL_STEP), nonconvex.SMALL),
    (Condition(INNER_L2, nonconvex.MIDDLE_STEP), nonconvex.MIDDLE),
)

_SLOPE = (
    "the least-squares slope of mean ln(training loss) over the meta-steps (the area under the curve) against "
    "log2 N, on each seed, over the N that both geometries ran"
)
_NOTES = (
    " A loss above chance, ln(ways), counts as chance, and so does a run that diverged. Where q^20 = (1 - alpha "
    f"lambda)^20 exceeds {strongly_convex.MOST_CONTRACTION:g} on the strongly convex side: inconclusive."
)


def _rules() -> dict[str, Rule]:
    rules = {}
    for convex, _ in PAIRS:
        rules[f"signs: {convex.alpha}"] = Rule(
            f"At the same {convex.alpha}, a larger N is faster per meta-step if strongly convex, and slower if "
            "nonconvex.",
            f"Two slopes, one for each geometry: {_SLOPE}. Supported if the whole 95 % interval over seeds lies "
            "below 0 for the strongly convex one and above 0 for the nonconvex one; not supported if one of the "
            "two lies wholly on the other side of 0; else inconclusive. The number shown is the nonconvex "
            f"slope.{_NOTES}",
            "nonconvex: training loss for each doubling of N",
            "%",
        )
        rules[f"difference: {convex.alpha}"] = Rule(
            f"At the same {convex.alpha}, a larger N serves the strongly convex inner loss better than the "
            "nonconvex one.",
            f"The strongly convex slope minus the nonconvex one, seed by seed; a slope is {_SLOPE}. Supported if "
            "the whole 95 % interval over seeds lies below 0, not supported if it lies above 0, else "
            f"inconclusive.{_NOTES}",
            "strongly convex minus nonconvex, training loss for each doubling of N",
            "%",
        )
    return rules


RULES = _rules()

QUESTION = f"""\
The paper's nonconvex runs always take a larger inner step than its strongly convex ones, and a reviewer asked for
both at the same one. If "faster with N" and "slower with N" are about the geometry, the contrast must survive.

**The set-up.** One adapted layer with lambda = {INNER_L2:g}, and two adapted layers without an l2 term, both at
alpha = {nonconvex.SMALL_STEP:g} and both at alpha = {nonconvex.MIDDLE_STEP:g}. Everything else is equal: initial
weights, tasks, body, optimizer, number of meta-steps; the nonconvex runs are those of the second experiment. Two
statements are judged at each alpha: that the signs are what the paper says, and the weaker one, that a larger N
serves the strongly convex geometry better.

**How far the theory reaches.** Its bounds want alpha up to 2/(L + mu). The table prints that limit beside alpha;
beyond it gradient descent need not contract, however strongly convex the loss is, and what is measured says nothing
about the theorem.
"""


def cells(scale: Scale, data: Data) -> list[Cell]:
    """A run for each pair, geometry, seed and N."""
    runs = []
    for convex, other in PAIRS[1:] if scale.name == "smoke" else PAIRS:
        for one, steps in ((convex, few(scale.inner_steps)), (other, None)):
            runs += sweeps.training_cells(
                one, scale, data, inner_steps=steps, meta_steps=nonconvex.meta_steps(scale)
            )
    return runs


def few(inner_steps: tuple[int, ...]) -> tuple[int, ...]:
    """The smallest, the middle and the largest N: a slope needs no more, and the nonconvex runs are there anyway."""
    steps = sorted(inner_steps)
    return tuple(sorted({steps[0], steps[(len(steps) - 1) // 2], steps[-1]}))


# ---- Verdicts ------------------------------------------------------------------------------------------------------


def judge(frame: pd.DataFrame) -> list[Claim]:
    """One claim for each rule."""
    found = {}
    for convex, other in PAIRS:
        rows = _in_both(convex.rows(frame), other.rows(frame))
        found[f"signs: {convex.alpha}"] = _signs(*rows)
        found[f"difference: {convex.alpha}"] = _difference(*rows)
    return [rule.claimed(NAME, *found[key]) for key, rule in RULES.items()]


def _in_both(convex: pd.DataFrame, other: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of those N that both geometries ran."""
    shared = np.intersect1d(convex["inner_steps"], other["inner_steps"])
    return convex[convex["inner_steps"].isin(shared)], other[other["inner_steps"].isin(shared)]


def _signs(convex: pd.DataFrame, other: pd.DataFrame) -> tuple[Interval, Verdict]:
    slope = sweeps.trend(other, LEVEL)
    faster = statistics.decide(sweeps.trend(convex, LEVEL), expected="below", than=0.0)
    slower = statistics.decide(slope, expected="above", than=0.0)
    verdict = statistics.all_of([faster, slower])
    return slope, verdict if strongly_convex.can_be_seen(convex) else INCONCLUSIVE


def _difference(convex: pd.DataFrame, other: pd.DataFrame) -> tuple[Interval, Verdict]:
    slopes = sweeps.slopes(convex, LEVEL), sweeps.slopes(other, LEVEL)
    if len(slopes[0]) != len(slopes[1]):
        return sweeps.UNKNOWN, INCONCLUSIVE
    difference = statistics.paired(*slopes).map(sweeps.percent)
    verdict = statistics.decide(difference, expected="below", than=0.0)
    return difference, verdict if strongly_convex.can_be_seen(convex) else INCONCLUSIVE


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
            "2/(L + mu)": _limit(rows) if one.adapted_layers == 1 else float("nan"),
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
            "Over the N that both geometries ran; a negative slope is faster. L is measured at the initial weights, "
            "the largest over tasks; the limit shown is the smallest over seeds.",
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


def _limit(rows: pd.DataFrame) -> float:
    """The largest alpha with which gradient descent contracts by 1 - alpha mu."""
    return float((2.0 / (rows["smoothness_max"] + rows["inner_l2"])).min())


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
