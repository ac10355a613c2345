"""P8: how much the meta-gradient of B random tasks scatters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anil_tf.study import statistics
from anil_tf.study.cell import Cell
from anil_tf.study.claims import INCONCLUSIVE, Rule, Table
from anil_tf.study.experiment import Data
from anil_tf.study.predictions.prediction import (
    UNKNOWN,
    Found,
    Prediction,
    cell,
    of,
    ratio_table,
    within,
)
from anil_tf.study.scale import Scale

if TYPE_CHECKING:
    import pandas as pd

    from anil_tf.study.figures import Panel

TOLERANCE = 0.15  # of the exponent of B: two dozen meta-batches of each size do not tell more
BLOCKS = ("head", "body")

RULES = {
    f"P8 {block}": Rule(
        f"P8: the sampling variance of the meta-gradient of the {block} falls as 1/B.",
        "Exponent of B in E |g_B - E g|^2 by least squares on logarithms, averaged over N on each seed; meta-batches "
        "of each size drawn afresh at frozen parameters. Student's 95 % interval over seeds. Supported if the whole "
        f"interval lies within -1 +-{TOLERANCE:g}, not supported if all of it lies outside, else inconclusive.",
        "exponent of B",
    )
    for block in BLOCKS
} | {
    "P8 bound": Rule(
        "P8: the head's part of the variance is at most q^(2N) M^2/B (derived).",
        "The largest ratio of the variance to its bound over N, B and seeds; M from the longest feature. Supported if "
        "no ratio exceeds 1, not supported if one does. The interval is the range of the seeds.",
        "largest measured / bound",
    )
}


def cells(scale: Scale, data: Data) -> list[Cell]:
    """A measurement for each seed."""
    if (
        scale.name == "smoke"
    ):  # the constants of the body alone would take longer than all of it may
        return []
    settings = {"most_inner_steps": 16, "largest_batch": 8, "draws": 24, "meta_batch_size": 8}
    return [cell("sampling:run", scale, data, seed, **settings) for seed in scale.seeds]


def judge(frame: pd.DataFrame) -> dict[str, Found]:
    """P8."""
    found = {f"P8 {block}": _exponent(of(frame, "P8", block=block)) for block in BLOCKS}
    return found | {"P8 bound": within(of(frame, "P8", block="head"))}


def _exponent(rows: pd.DataFrame) -> Found:
    if rows.empty or rows["batch"].nunique() < 2:
        return UNKNOWN, INCONCLUSIVE
    by_length = []
    for _, part in rows.groupby("inner_steps"):
        batches, sizes = statistics.by_seed(part, "batch", "measured")
        by_length.append(statistics.slopes(np.log(batches.astype(float)), np.log(sizes)))
    interval = statistics.mean(sum(by_length) / len(by_length))
    return interval, statistics.decide_equal(interval, to=-1.0, tolerance=TOLERANCE)


def panels(frame: pd.DataFrame) -> list[Panel]:
    """Variance against B for each N, head and body apart."""
    from anil_tf.study import figures

    found = []
    for block in BLOCKS:
        rows = of(frame, "P8", block=block)
        if rows.empty:
            continue
        series = []
        for steps, part in rows.groupby("inner_steps"):
            limit = part.groupby("batch")["bound"].max()
            series += [
                figures.measured(part, x="batch", y="measured", label=f"N = {steps:g}"),
                figures.bound(
                    limit.index, limit.to_numpy(), "derived bounds" if steps == 1 else ""
                ),
            ]
        found.append(
            figures.Panel(
                series,
                x_label="tasks in a meta-batch, B",
                y_label="variance of the meta-gradient",
                title=f"{block}",
                log_x=True,
                log_y=True,
                ticks=sorted(rows["batch"].unique()),
            )
        )
    return found


def table(frame: pd.DataFrame) -> Table | None:
    """How close the bounds are."""
    return ratio_table(
        of(frame, "P8"),
        ["block", "inner_steps"],
        "P8: sampling variance",
        "Shown at the smallest B. The body's M, L and kappa are met at sampled points: its bound is an estimate.",
    )


PREDICTIONS = (
    Prediction(
        "P8",
        "P8: the noise of a meta-batch",
        "The sampling variance of the meta-gradient falls as 1/B; its w part is at most q^(2N) M^2/B, its phi part at "
        "most M^2 (1 + kappa (1 - q^N))^2/B. Measured on meta-batches drawn afresh at frozen parameters.",
        "Variance of whole meta-gradients against the number of tasks B, for several N, with the derived bounds "
        "(broken lines, in the order of N from the top for the head). Bars: 95 % over seeds.",
        RULES,
        cells,
        judge,
        panels,
        table,
    ),
)
