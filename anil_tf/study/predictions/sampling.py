"""P8: how much the meta-gradient of B random tasks scatters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anil_tf.study import statistics
from anil_tf.study.cell import Cell
from anil_tf.study.claims import INCONCLUSIVE, Rule, Table
from anil_tf.study.experiment import Data
from anil_tf.study.measurements.gradient_variance import EXPONENT_TOLERANCE
from anil_tf.study.predictions.prediction import (
    ESTIMATE,
    UNKNOWN,
    Found,
    Prediction,
    bound_panel,
    cell,
    closest,
    not_at_smoke,
    of,
    ratio_table,
)
from anil_tf.study.scale import Scale

if TYPE_CHECKING:
    import pandas as pd

    from anil_tf.study.figures import Panel

BLOCKS = ("head", "body")

RULES = {
    f"P8 {block}": Rule(
        f"P8: the sampling variance of the meta-gradient of the {block} falls as 1/B.",
        "Exponent of B = 1, 2, 4, 8 in E |g_B - E g|^2 by least squares on logarithms, averaged over N = 1, 4, 16 on "
        "each seed; 32 meta-batches drawn afresh for each N and B, at frozen initial weights. Student's 95 % interval "
        f"over seeds. Supported if the whole interval lies within -1 +-{EXPONENT_TOLERANCE:g}, not supported if all of "
        "it lies outside, else inconclusive.",
        "exponent of B",
    )
    for block in BLOCKS
} | {
    "P8 bound": Rule(
        "P8: the head's part of the variance is at most q^(2N) M^2/B (derived).",
        "The largest ratio of the variance to its bound over N and B on each seed; L and M are closed forms of the "
        "features of the very tasks drawn. The variance is estimated from 32 meta-batches, so there is chance in it: "
        "geometric mean over seeds with Student's 95 % interval of the logarithm. Supported if the whole interval lies "
        "below 1, not supported if above, else inconclusive.",
        "largest measured / bound",
    )
}


@not_at_smoke
def cells(scale: Scale, data: Data) -> list[Cell]:
    """A measurement for each seed."""
    settings = {"most_inner_steps": 16, "largest_batch": 8, "draws": 32}
    return [cell("sampling.run", scale, data, seed, **settings) for seed in scale.seeds]


def judge(frame: pd.DataFrame) -> dict[str, Found]:
    """P8."""
    found = {f"P8 {block}": _exponent(of(frame, "P8", block=block)) for block in BLOCKS}
    return found | {"P8 bound": _below_bound(of(frame, "P8", block="head"))}


def _below_bound(rows: pd.DataFrame) -> Found:
    largest = closest(rows)
    interval = statistics.ratio(largest, np.ones_like(largest))
    return interval, statistics.decide(interval, "below", than=1.0)


def _exponent(rows: pd.DataFrame) -> Found:
    if rows.empty or rows["batch"].nunique() < 2:
        return UNKNOWN, INCONCLUSIVE
    by_length = []
    for _, part in rows.groupby("inner_steps"):
        batches, sizes = statistics.by_seed(part, "batch", "measured")
        by_length.append(statistics.slopes(np.log(batches.astype(float)), np.log(sizes)))
    interval = statistics.mean(sum(by_length) / len(by_length))
    return interval, statistics.decide_equal(interval, to=-1.0, tolerance=EXPONENT_TOLERANCE)


def panels(frame: pd.DataFrame) -> list[Panel]:
    """Variance against B for each N, head and body apart."""
    found = []
    titles = ("head: derived bounds", "body: derived formula, sampled constants")
    for block, title in zip(BLOCKS, titles, strict=True):
        rows = of(frame, "P8", block=block)
        parts = [
            (part, f"N = {steps:g}", "bound" if steps == rows["inner_steps"].min() else "")
            for steps, part in (rows.groupby("inner_steps") if len(rows) else ())
        ]
        labels = {"x_label": "tasks in a meta-batch, B", "y_label": "variance of the meta-gradient"}
        if parts:
            found.append(bound_panel(parts, x="batch", title=title, **labels))
    return found


def table(frame: pd.DataFrame) -> Table | None:
    """How close the bounds are."""
    return ratio_table(
        of(frame, "P8"),
        ["block", "inner_steps"],
        "P8: sampling variance",
        "Measured and bound: the largest over B. Head: L and M are closed forms of the features of the very tasks "
        f"drawn. Body: {ESTIMATE}, met on two other tasks.",
    )


PREDICTIONS = (
    Prediction(
        "P8",
        "P8: the noise of a meta-batch",
        "The sampling variance of the meta-gradient falls as 1/B; its w part is at most q^(2N) M^2/B, its phi part at "
        "most M^2 (1 + kappa (1 - q^N))^2/B. Measured on meta-batches drawn afresh at frozen parameters.",
        "Variance of whole meta-gradients against the number of tasks B, for several N, with the derived bounds "
        "(broken lines, in the order of N from the top for the head; for the body, whose constants are met at sampled "
        "points, estimates). Bars: 95 % over seeds.",
        RULES,
        cells,
        judge,
        panels,
        table,
    ),
)
