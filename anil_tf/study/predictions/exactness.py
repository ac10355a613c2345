"""P10: the recursion of Proposition 1 and the unrolled computation agree to the last digits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anil_tf.study.cell import Cell, Scalar
from anil_tf.study.claims import INCONCLUSIVE, NOT_SUPPORTED, SUPPORTED, Rule, Table
from anil_tf.study.experiment import Data
from anil_tf.study.predictions.prediction import (
    SMOOTH,
    UNKNOWN,
    USUAL,
    Found,
    Prediction,
    cell,
    of,
    seeds,
)
from anil_tf.study.scale import Scale
from anil_tf.study.statistics import Interval

if TYPE_CHECKING:
    import pandas as pd

    from anil_tf.study.figures import Panel

LIMIT = 1e-10
SMALLEST = 1e-18  # where a difference of exactly zero is drawn
_CASES: dict[str, dict[str, Scalar]] = {
    "linear head": {"head": "linear"},
    "two-layer head": {"head": "two_layer", "inner_l2": 0.0},
    "linear head, conv4": {"head": "linear", "body": USUAL},
    "MAML": {"head": "all", "inner_l2": 0.0, "meta_batch_size": 1},
}

RULES = {
    "P10": Rule(
        "P10: Proposition 1 by its reverse recursion is the exact meta-gradient (derived).",
        "Norm of the difference between the recursion's and the unrolled meta-gradient over the norm of the latter, in "
        "float64; the largest over N = 1, 2, 4, over head and body parts, and over the cases: on the smooth body a "
        "linear head (every seed), a two-layer head and MAML, and a linear head on conv4 (first seed). "
        f"Supported if it is below {LIMIT:g}, not supported if not, inconclusive if a number is missing. The "
        "interval is the range of the seeds.",
        "largest relative difference",
    )
}


def cells(scale: Scale, data: Data) -> list[Cell]:
    """A linear head on each seed, all other cases on the first."""
    cases = ["linear head"] if scale.name == "smoke" else list(_CASES)
    most = 2 if scale.name == "smoke" else 4
    length: dict[str, Scalar] = {"most_inner_steps": most, "inner_step_size": 0.1}
    return [
        cell("exactness.run", scale, data, seed, **(length | _CASES[case]))
        for case in cases
        for seed in (scale.seeds[:1] if case != "linear head" else seeds(scale))
    ]


def judge(frame: pd.DataFrame) -> dict[str, Found]:
    """P10."""
    rows = of(frame, "P10")
    if rows.empty or not np.isfinite(rows["measured"].astype(float)).all():
        return {"P10": (UNKNOWN, INCONCLUSIVE)}
    largest = rows.groupby("seed")["measured"].max()
    interval = Interval(largest.max(), largest.min(), largest.max(), len(largest))
    return {"P10": (interval, SUPPORTED if interval.center < LIMIT else NOT_SUPPORTED)}


def _labelled(frame: pd.DataFrame) -> pd.DataFrame:
    rows = of(frame, "P10")
    if rows.empty:
        return rows
    heads = {"linear": "linear head", "two_layer": "two-layer head", "all": "MAML"}
    names = (
        rows["head"]
        .map(heads)
        .where(rows["body"] == SMOOTH, rows["head"].map(heads) + ", " + rows["body"])
    )
    return rows.assign(case=names)


def panels(frame: pd.DataFrame) -> list[Panel]:
    """The relative difference against N, beside the limit."""
    from anil_tf.study import figures

    rows = _labelled(frame)
    if rows.empty:
        return []
    shown = rows.assign(measured=rows["measured"].clip(lower=SMALLEST))
    worst = shown.groupby(["case", "seed", "inner_steps"], as_index=False)["measured"].max()
    series = figures.curves(worst, x="inner_steps", y="measured", by="case")
    return [
        figures.Panel(
            series,
            x_label="inner steps N",
            y_label="relative difference",
            title="recursion against unrolling",
            log_y=True,
            ticks=sorted(rows["inner_steps"].unique()),
            lines={"limit of the rule": LIMIT},
            y_limits=(SMALLEST / 3, 1e-8),
        )
    ]


def table(frame: pd.DataFrame) -> Table | None:
    """The largest difference of each case."""
    rows = _labelled(frame)
    if rows.empty:
        return None
    lines = rows.groupby(["case", "part"], as_index=False, sort=False)["measured"].max()
    lines = lines.rename(columns={"measured": "largest relative difference"})
    return Table(
        "P10: recursion against unrolling", lines, "In float64, whose rounding is 1.1e-16."
    )


PREDICTIONS = (
    Prediction(
        "P10",
        "P10: the recursion is exact",
        "The reverse recursion of Proposition 1, which the library trains with, equals automatic differentiation of "
        "the written-out inner loop: relative difference below 1e-10 in float64.",
        "Relative difference between the two meta-gradients, the larger of head and body, against N; bands are the "
        f"range of the seeds. Exactly equal ones are drawn at {SMALLEST:g}.",
        RULES,
        cells,
        judge,
        panels,
        table,
    ),
)
