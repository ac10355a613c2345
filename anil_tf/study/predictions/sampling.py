"""P8: how much the meta-gradient of B random tasks scatters. That it falls as 1/B is judged by `batch_size`."""

from __future__ import annotations

import numpy as np
import pandas as pd

from anil_tf.study import statistics
from anil_tf.study.cell import Cell
from anil_tf.study.claims import DERIVATION, Below, Claim
from anil_tf.study.experiment import Data, Picture
from anil_tf.study.figures import Panel
from anil_tf.study.predictions.shared import (
    ESTIMATE,
    bound_panel,
    cell,
    ratio_by_seed,
    ratio_table,
    rows_of,
)
from anil_tf.study.scale import Scale
from anil_tf.study.statistics import Interval

TEXT = """\
- **P8.** The sampling variance of the meta-gradient falls as 1/B; its w part is at most q^(2N) M^2/B, its phi part at
  most M^2 (1 + kappa (1 - q^N))^2/B. Measured on meta-batches drawn afresh at frozen parameters. The bound of the w
  part is judged here; that the variance falls as 1/B, by the experiment `batch_size`."""


def cells(scale: Scale, data: Data) -> list[Cell]:
    """A measurement for each seed; none at smoke, whose whole time the constants of the body alone would take."""
    settings = {"most_inner_steps": 16, "largest_batch": 8, "draws": 32}
    seeds = () if scale.name == "smoke" else scale.seeds
    return [cell("sampling.run", scale, data, seed, **settings) for seed in seeds]


def below_bound(frame: pd.DataFrame) -> Interval | None:
    """The head's largest ratio of variance to bound, geometric mean over the seeds."""
    rows = rows_of(frame, "P8", block="head")
    if rows.empty:
        return None
    ratios = ratio_by_seed(rows)
    return statistics.ratio(ratios, np.ones_like(ratios))


CLAIMS = [
    Claim(
        key="P8 bound",
        text="P8: the head's part of the meta-gradient's variance is at most q^(2N) M^2/B.",
        said_by=DERIVATION,
        statistic=below_bound,
        words="The largest ratio of the variance to its bound over N = 1, 4, 16 and B = 1, 2, 4, 8 on each seed; 32 "
        "meta-batches drawn afresh for each, at frozen initial weights, so there is chance in it: geometric mean. L "
        "and M are closed forms of the features of the very tasks drawn.",
        test=Below(1.0),
        number="largest measured / bound",
    )
]


def _panels(frame: pd.DataFrame) -> list[Panel]:
    """Variance against B for each N, head and body apart."""
    panels = []
    titles = {
        "head": "head: derived bounds",
        "body": "body: derived formula, sampled constants",
    }
    for block, title in titles.items():
        rows = rows_of(frame, "P8", block=block)
        parts = [
            (part, f"N = {steps:g}", "bound" if steps == rows["inner_steps"].min() else "")
            for steps, part in (rows.groupby("inner_steps") if len(rows) else ())
        ]
        labels = {
            "x_label": "tasks in a meta-batch, B",
            "y_label": "variance of the meta-gradient",
        }
        if parts:
            panels.append(bound_panel(parts, x="batch", title=title, **labels))
    return panels


PICTURES = [
    Picture(
        "P8.png",
        "P8: the noise of a meta-batch",
        "Variance of whole meta-gradients against the number of tasks B, for several N, with the derived bounds "
        "(broken lines, in the order of N from the top for the head; for the body, whose constants are met at sampled "
        "points, estimates). Bars: 95 % over seeds.",
        _panels,
    )
]
TABLES = [
    lambda frame: ratio_table(
        rows_of(frame, "P8"),
        ["block", "inner_steps"],
        "P8: sampling variance",
        "Measured and bound: the largest over B. Head: L and M are closed forms of the features of the very tasks "
        f"drawn. Body: {ESTIMATE}, met on two other tasks.",
    )
]
