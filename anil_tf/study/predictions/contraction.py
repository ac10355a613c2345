"""P1 and P2: adaptation forgets where it started, and so the head's meta-gradient fades."""

from __future__ import annotations

import numpy as np
import pandas as pd

from anil_tf.study import figures, statistics
from anil_tf.study.cell import Cell
from anil_tf.study.claims import DERIVATION, Above, Claim
from anil_tf.study.experiment import Data, Picture
from anil_tf.study.figures import Panel
from anil_tf.study.predictions.shared import (
    BEYOND_ROUNDING,
    SMOOTH,
    USUAL,
    WITHIN_BOUND,
    cell,
    fades,
    largest_ratio,
    ratio_table,
    rows_of,
    seeds,
)
from anil_tf.study.scale import Scale
from anil_tf.study.statistics import Interval

MOST_INNER_STEPS = 256
SEEN = 0.1  # the bound q^N must fall below this at the largest N, or nothing can be seen
NEARLY = 0.95  # of the predicted rate: the approach to it is asymptotic

TEXT = """\
- **P1.** |w_N - w'_N| <= (1 - alpha mu)^N |w_0 - w'_0| for alpha <= 2/(L + mu). Two heads adapt to one task; the second
  starts a random step away, or within what the support sees, or by the same row for all classes.
- **P2.** |d_w| <= M q^N: what adaptation forgets, the meta-gradient cannot see. Measured at a frozen point, task by
  task."""


def cells(scale: Scale, data: Data) -> list[Cell]:
    """A measurement for each body and seed; it gives both predictions."""
    most = 16 if scale.name == "smoke" else MOST_INNER_STEPS
    bodies = (SMOOTH,) if scale.name == "smoke" else (SMOOTH, USUAL)
    return [
        cell("contraction.run", scale, data, seed, body=body, most_inner_steps=most)
        for body in bodies
        for seed in seeds(scale)
    ]


def rate(frame: pd.DataFrame) -> Interval | None:
    """The slope of ln |d_w| between the last two N over that of q^N, smooth body."""
    rows = rows_of(frame, "P2", body=SMOOTH)
    if rows.empty or rows["inner_steps"].nunique() < 2:
        return None
    steps, sizes = statistics.by_seed(rows, "inner_steps", "measured")
    factors = rows.groupby("seed")["contraction"].first().to_numpy()
    fall = np.log(sizes[:, -1] / sizes[:, -2])
    return statistics.mean(fall / ((steps[-1] - steps[-2]) * np.log(factors)))


_WHERE = (
    "at the initial weights, on the smooth body and on conv4, for N = 1, 2, 4, ..., 256 at alpha = 1/L. "
    f"{BEYOND_ROUNDING}"
)
CLAIMS = [
    Claim(
        key="P1",
        text="P1: two heads that adapt to one task come closer by (1 - alpha mu)^N at least.",
        said_by=DERIVATION,
        statistic=lambda frame: largest_ratio(rows_of(frame, "P1")),
        words="The largest ratio of the distance after N steps to the distance before, over its bound q^N; over tasks, "
        f"three kinds of second head, bodies and seeds, {_WHERE}",
        test=WITHIN_BOUND,
        number="largest measured / bound",
        gate=fades("P1", SEEN),
    ),
    Claim(
        key="P2",
        text="P2: the head's meta-gradient is at most M q^N.",
        said_by=DERIVATION,
        statistic=lambda frame: largest_ratio(rows_of(frame, "P2")),
        words="The largest ratio of |d_w| to M q^N, M = sqrt(2) times the longest feature; over tasks, bodies and "
        f"seeds, {_WHERE}",
        test=WITHIN_BOUND,
        number="largest measured / bound",
        gate=fades("P2", SEEN),
    ),
    Claim(
        key="P2 rate",
        text="P2: for large N the head's meta-gradient falls by q per step, or faster.",
        said_by=DERIVATION,
        statistic=rate,
        words="ln |d_w| from the last but one N to the last, over ln q^(difference of N), on each seed, smooth body.",
        test=Above(NEARLY),
        number="measured / predicted slope of ln |d_w|",
        gate=fades("P2", SEEN, body=SMOOTH),
    ),
]


def _panels(
    frame: pd.DataFrame, name: str, parts: dict[str, dict], y_label: str, bound: str
) -> list[Panel]:
    """Measured against N, a line for each part of the rows, and a panel for each body."""
    panels = []
    for body in (SMOOTH, USUAL):
        rows = rows_of(frame, name, body=body)
        if rows.empty:
            continue
        series = [
            figures.measured(part, x="inner_steps", y="measured", label=label)
            for label, settings in parts.items()
            if len(part := rows_of(rows, name, **settings))
        ]
        limit = rows.groupby("inner_steps")["bound"].max()
        series.append(figures.bound(limit.index, limit.to_numpy(), bound))
        panels.append(Panel(series, "inner steps N", y_label, body, log_y=True))
    return panels


_STARTS = {"random": "random", "within the support": "seen", "a row for all classes": "common"}
PICTURES = [
    Picture(
        "P1.png",
        "P1: adaptation forgets its start",
        "Distance of two adapting heads over their distance at the start, the largest over tasks, against N. The body "
        "stands still, so that the bound must hold for conv4 too, whatever its kinks. Bars: 95 % over seeds.",
        lambda frame: _panels(
            frame,
            "P1",
            {label: {"start": start} for label, start in _STARTS.items()},
            "distance after N steps / before",
            "derived bound q^N",
        ),
    ),
    Picture(
        "P2.png",
        "P2: the head's meta-gradient fades",
        "Norm of the meta-gradient by the head, the largest over tasks, against N. Bars: 95 % over seeds.",
        lambda frame: _panels(
            frame, "P2", {"measured": {}}, "|d_w|, largest over tasks", "derived bound M q^N"
        ),
    ),
]
TABLES = [
    lambda frame: ratio_table(
        rows_of(frame, "P1"),
        ["body", "start"],
        "P1: distances of adapting heads",
        "The bound is attained (ratio 1) where the second head differs by one row for all classes: softmax cancels it, "
        "and lambda alone pulls it back.",
    ),
    lambda frame: ratio_table(rows_of(frame, "P2"), ["body"], "P2: the head's meta-gradient", ""),
]
