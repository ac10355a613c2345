"""P1 and P2: adaptation forgets where it started, and so the head's meta-gradient fades."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anil_tf.study import statistics
from anil_tf.study.cell import Cell
from anil_tf.study.claims import INCONCLUSIVE, Rule, Table, Verdict
from anil_tf.study.experiment import Data
from anil_tf.study.predictions.prediction import (
    SMOOTH,
    UNKNOWN,
    USUAL,
    WITHIN,
    Found,
    Prediction,
    cell,
    of,
    ratio_table,
    seeds,
    unseen,
    within,
)
from anil_tf.study.scale import Scale
from anil_tf.study.statistics import Interval

if TYPE_CHECKING:
    import pandas as pd

    from anil_tf.study.figures import Panel

MOST_INNER_STEPS = 256
SEEN = 0.1  # the bound q^N must fall below this at the largest N, or nothing can be seen
NEARLY = 0.95  # of the predicted rate: the approach to it is asymptotic

_BOTH_BODIES = "at the initial weights, on the smooth body and on conv4, for N = 1, 2, 4, ..., 256 at alpha = 1/L"
RULES = {
    "P1": Rule(
        "P1: two heads that adapt to one task come closer by (1 - alpha mu)^N at least (derived).",
        "The largest ratio of the distance after N steps to the distance before, over its bound q^N; over tasks, three "
        f"kinds of second head, bodies and seeds, {_BOTH_BODIES}. Nothing is random but the points tried: supported if "
        f"none exceeds {WITHIN}; not supported if one does; else inconclusive, if at the largest N q^N is not below "
        f"{SEEN:g} on every seed and body. The interval is the range of the seeds.",
        "largest measured / bound",
    ),
    "P2": Rule(
        "P2: the head's meta-gradient is at most M q^N (derived).",
        f"The largest ratio of |d_w| to M q^N, M = sqrt(2) times the longest feature; over tasks, bodies and seeds, "
        f"{_BOTH_BODIES}. Supported if none exceeds {WITHIN}; not supported if one does; else inconclusive, if at the "
        f"largest N q^N is not below {SEEN:g} on every seed and body. The interval is the range of the seeds.",
        "largest measured / bound",
    ),
    "P2 rate": Rule(
        "P2: for large N the head's meta-gradient falls by q per step, or faster.",
        "ln |d_w| from the last but one N to the last, over ln q^(difference of N), on each seed, smooth body; "
        f"Student's 95 % interval over seeds. Supported if the whole interval lies above {NEARLY:g}, not supported if "
        f"it lies below, else inconclusive, as where at the largest N q^N is not below {SEEN:g} on every seed.",
        "measured / predicted slope of ln |d_w|",
    ),
}


def cells(scale: Scale, data: Data) -> list[Cell]:
    """A measurement for each body and seed."""
    most = 16 if scale.name == "smoke" else MOST_INNER_STEPS
    bodies = (SMOOTH,) if scale.name == "smoke" else (SMOOTH, USUAL)
    return [
        cell("contraction.run", scale, data, seed, body=body, most_inner_steps=most)
        for body in bodies
        for seed in seeds(scale)
    ]


def distances(frame: pd.DataFrame) -> dict[str, Found]:
    """P1."""
    rows = of(frame, "P1")
    return {"P1": within(rows, unseen=unseen(rows, SEEN))}


def gradients(frame: pd.DataFrame) -> dict[str, Found]:
    """P2."""
    rows = of(frame, "P2")
    return {"P2": within(rows, unseen=unseen(rows, SEEN)), "P2 rate": _rate(rows)}


def _rate(rows: pd.DataFrame) -> Found:
    smooth = rows[rows["body"] == SMOOTH] if len(rows) else rows
    if smooth.empty or smooth["inner_steps"].nunique() < 2:
        return UNKNOWN, INCONCLUSIVE
    if hidden := unseen(smooth, SEEN):
        return UNKNOWN, INCONCLUSIVE, hidden
    steps, sizes = statistics.by_seed(smooth, "inner_steps", "measured")
    factors = smooth.groupby("seed")["contraction"].first().to_numpy()
    fall = np.log(sizes[:, -1] / sizes[:, -2])
    interval: Interval = statistics.mean(fall / ((steps[-1] - steps[-2]) * np.log(factors)))
    verdict: Verdict = statistics.decide(interval, "above", than=NEARLY)
    return interval, verdict


def distance_panels(frame: pd.DataFrame) -> list[Panel]:
    """Distances against N for each kind of second head, a panel for each body."""
    labels = {"random": "random", "seen": "within the support", "common": "a row for all classes"}
    return [
        _panel(
            rows,
            {label: rows[rows["start"] == start] for start, label in labels.items()},
            body,
            "distance after N steps / before",
            "derived bound q^N",
        )
        for body, rows in _by_body(of(frame, "P1"))
    ]


def gradient_panels(frame: pd.DataFrame) -> list[Panel]:
    """The norm of the head's meta-gradient against N, a panel for each body."""
    return [
        _panel(rows, {"measured": rows}, body, "|d_w|, largest over tasks", "derived bound M q^N")
        for body, rows in _by_body(of(frame, "P2"))
    ]


def _by_body(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return [] if rows.empty else [(str(body), part) for body, part in rows.groupby("body")][::-1]


def _panel(
    rows: pd.DataFrame, parts: dict[str, pd.DataFrame], body: str, y_label: str, bound: str
) -> Panel:
    from anil_tf.study import figures

    series = [
        figures.measured(part, x="inner_steps", y="measured", label=label)
        for label, part in parts.items()
        if len(part)
    ]
    limit = rows.groupby("inner_steps")["bound"].max()
    series.append(figures.bound(limit.index, limit.to_numpy(), bound))
    return figures.Panel(series, x_label="inner steps N", y_label=y_label, title=body, log_y=True)


def distance_table(frame: pd.DataFrame) -> Table | None:
    """How close P1's bound is."""
    return ratio_table(
        of(frame, "P1"),
        ["body", "start"],
        "P1: distances of adapting heads",
        "The bound is attained (ratio 1) where the second head differs by one row for all classes: softmax cancels it, "
        "and lambda alone pulls it back.",
    )


def gradient_table(frame: pd.DataFrame) -> Table | None:
    """How close P2's bound is."""
    return ratio_table(of(frame, "P2"), ["body"], "P2: the head's meta-gradient", "")


PREDICTIONS = (
    Prediction(
        "P1",
        "P1: adaptation forgets its start",
        "|w_N - w'_N| <= (1 - alpha mu)^N |w_0 - w'_0| for alpha <= 2/(L + mu). Two heads adapt to one task; the "
        "second starts a random step away, or within what the support sees, or by the same row for all classes.",
        "Distance of two adapting heads over their distance at the start, the largest over tasks, against N. The body "
        "stands still, so that the bound must hold for conv4 too, whatever its kinks. Bars: 95 % over seeds.",
        {"P1": RULES["P1"]},
        cells,
        distances,
        distance_panels,
        distance_table,
    ),
    Prediction(
        "P2",
        "P2: the head's meta-gradient fades",
        "|d_w| <= M q^N: what adaptation forgets, the meta-gradient cannot see. Measured at a frozen point, task by "
        "task.",
        "Norm of the meta-gradient by the head, the largest over tasks, against N. Bars: 95 % over seeds.",
        {key: RULES[key] for key in ("P2", "P2 rate")},
        lambda scale, data: [],  # P1's cells measure both
        gradients,
        gradient_panels,
        gradient_table,
    ),
)
