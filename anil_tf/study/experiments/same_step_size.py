"""Experiment 3: both geometries at the same inner step size, as a reviewer of the paper asked."""

from __future__ import annotations

import functools

import pandas as pd

from anil_tf.study import sweeps
from anil_tf.study.cell import Cell
from anil_tf.study.claims import REVIEWER, STUDY, Above, Below, Claim, Every, Gate, Measured
from anil_tf.study.experiment import Data, Experiment
from anil_tf.study.experiments import nonconvex, strongly_convex
from anil_tf.study.scale import Scale
from anil_tf.study.statistics import Interval
from anil_tf.study.sweeps import LEVEL, PROGRESS, Condition

ALPHA = (
    0.02  # with 32 filters L is 31 to 43 at the start (on seed 0), and the bounds end at 2/(L + mu)
)
CONVEX = Condition(0.5, ALPHA)  # the strongest convexity that the paper's settings reach
NONCONVEX = Condition(0.0, ALPHA, adapted_layers=2)
CONDITIONS = (CONVEX, NONCONVEX)

QUESTION = f"""\
The paper's nonconvex runs always take a larger inner step than its strongly convex ones, and a reviewer asked for
both at the same one. If "faster with N" and "slower with N" are about the geometry, the contrast must survive.

**The set-up.** One adapted layer with lambda = {CONVEX.inner_l2:g}, and two adapted layers without an l2 term, both at
alpha = {ALPHA:g}. Everything else is equal: initial weights, tasks, body, optimizer, number of meta-steps. Two
statements are judged: that the signs are what the paper says, and the weaker one, that a larger N serves the strongly
convex geometry better, the latter with and without the head start that a larger N has before anything is learned.

**How far the theory reaches.** Its bounds want alpha up to 2/(L + mu). The table prints that limit beside alpha;
beyond it gradient descent need not contract, however strongly convex the loss is, and what is measured says nothing
about the theorem: that is why the larger steps of the second experiment have no partner here. (The smallest of them,
{nonconvex.SMALL_STEP:g}, was measured: it lies above 2/(L + mu) = 0.039.)
"""


def cells(scale: Scale, data: Data) -> list[Cell]:
    """A run for each geometry, seed, and the smallest, the middle and the largest N: a slope needs no more."""
    steps = sorted(scale.inner_steps)
    few = sorted({steps[0], steps[(len(steps) - 1) // 2], steps[-1]})
    meta_steps = nonconvex.meta_steps(scale)
    return [
        cell
        for one in CONDITIONS
        for cell in sweeps.training_cells(one, scale, data, inner_steps=few, meta_steps=meta_steps)
    ]


# ---- Claims --------------------------------------------------------------------------------------------------------


def signs(frame: pd.DataFrame) -> Measured | None:
    """The slopes of both geometries; the nonconvex one is shown."""
    convex, other = (one.rows(frame) for one in CONDITIONS)
    if convex.empty:
        return None
    slope = sweeps.trend(other, LEVEL)
    return Measured(slope, (sweeps.trend(convex, LEVEL), slope))


def difference(frame: pd.DataFrame, reading: str) -> Interval | None:
    """The strongly convex slope minus the nonconvex one."""
    convex, other = (one.rows(frame) for one in CONDITIONS)
    return None if convex.empty else sweeps.difference(convex, other, reading)


def _out_of_reach(frame: pd.DataFrame) -> str:
    convex = CONVEX.rows(frame)
    limit = sweeps.largest_step_size(convex) if len(convex) else ALPHA
    return f"2/(L + mu) = {limit:.3g}" if limit < ALPHA else _VISIBLE.reason(frame)


_VISIBLE = strongly_convex.visible(CONVEX)
_GATE = Gate(
    "Inconclusive, too, where on the strongly convex side and on some seed alpha exceeds 2/(L + mu) at the initial "
    f"weights, or q^20 = (1 - alpha lambda)^20 exceeds {strongly_convex.MOST_CONTRACTION:g}: the design cannot tell.",
    _out_of_reach,
)
CLAIMS = [
    Claim(
        key=f"signs: {CONVEX.alpha}",
        text="At the same inner step size a larger N helps if strongly convex, and hurts if nonconvex.",
        said_by=REVIEWER,
        statistic=signs,
        words=f"{sweeps.SLOPE} {sweeps.DIVERGED} The number shown is the nonconvex slope.",
        test=Every(
            (("the strongly convex slope", Below(0.0)), ("the nonconvex slope", Above(0.0)))
        ),
        number="nonconvex: training loss for each doubling of N",
        unit="%",
        condition=CONVEX.alpha,
        gate=_GATE,
    ),
    Claim(
        key=f"difference: {CONVEX.alpha}",
        text="At the same inner step size a larger N serves the strongly convex loss better than the nonconvex.",
        said_by=REVIEWER,
        statistic=lambda frame: difference(frame, LEVEL),
        words=f"The strongly convex slope minus the nonconvex one, seed by seed. A slope: {sweeps.SLOPE} "
        f"{sweeps.DIVERGED}",
        test=Below(0.0),
        number="strongly convex minus nonconvex, training loss for each doubling of N",
        unit="%",
        condition=CONVEX.alpha,
        gate=_GATE,
    ),
    Claim(
        key=f"learning: {CONVEX.alpha}",
        text="At the same inner step size, the head start of a larger N set aside.",
        said_by=STUDY,
        statistic=lambda frame: difference(frame, PROGRESS),
        words="The strongly convex slope minus the nonconvex one, seed by seed. A slope: "
        f"{sweeps.SLOPE} {sweeps.SLOPE_OF_PROGRESS} {sweeps.DIVERGED}",
        test=Below(0.0),
        number="strongly convex minus nonconvex, loss relative to its start, per doubling of N",
        unit="%",
        condition=CONVEX.alpha,
        gate=_GATE,
    ),
]


_parts = functools.partial(sweeps.by_condition, CONDITIONS)
EXPERIMENT = Experiment(
    module=__name__,
    order=3,
    title="The same inner step size in both geometries",
    lead="The two geometries ran at different inner step sizes. Is it the geometry that makes the difference, or the "
    "step? Here both take the same one.",
    question=QUESTION,
    cells=cells,
    claims=CLAIMS,
    pictures=[
        sweeps.trend_picture(_parts, "Both geometries at the same inner step size"),
        sweeps.loss_picture(_parts, "Left strongly convex, right nonconvex"),
    ],
    tables=[
        lambda frame: sweeps.condition_table(_parts(frame)),
        lambda frame: sweeps.cell_table(_parts(frame)),
    ],
)
