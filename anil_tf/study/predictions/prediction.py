"""One prediction of the theory, and what all of them share: where measurements stand beside derived bounds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from anil_tf.study.cell import Cell, Scalar
from anil_tf.study.claims import INCONCLUSIVE, NOT_SUPPORTED, SUPPORTED, Rule, Table, Verdict
from anil_tf.study.experiment import Data
from anil_tf.study.scale import Scale
from anil_tf.study.statistics import Interval

if TYPE_CHECKING:
    import pandas as pd

    from anil_tf.study.figures import Panel

SMOOTH, USUAL = "smooth_conv4", "conv4"
UNKNOWN = Interval(math.nan, -math.inf, math.inf, 0)

# A bound is exact in exact arithmetic: this much is rounding, and what is smaller than this cannot be told from it.
ROUNDING, NOISE = 1e-6, 1e-12

Found = tuple[Interval, Verdict]


@dataclasses.dataclass(frozen=True)
class Prediction:
    """One of P1 to P10.

    Attributes:
        name: "P1".
        title: for its picture.
        text: Markdown, one or two sentences: what is predicted, and how it is measured.
        caption: of its picture.
        rules: key to rule; a key begins with the name.
        cells: what is run for it.
        judge: interval and verdict of each rule, by its key.
        panels: of its picture; none where nothing was measured.
        table: the numbers behind it; None where nothing was measured.
    """

    name: str
    title: str
    text: str
    caption: str
    rules: Mapping[str, Rule]
    cells: Callable[[Scale, Data], list[Cell]]
    judge: Callable[[pd.DataFrame], dict[str, Found]]
    panels: Callable[[pd.DataFrame], list[Panel]]
    table: Callable[[pd.DataFrame], Table | None]


def cell(runner: str, scale: Scale, data: Data, seed: int, **changes: Scalar) -> Cell:
    """A cell at a frozen point: a smooth body of a quarter of the usual width, linear head, lambda = 0.5.

    Args:
        runner: module and function in `anil_tf.study.measurements`.
        scale: the sizes.
        data: the data set.
        seed: of weights and tasks.
        **changes: other settings, and those of the runner.
    """
    settings: dict[str, Scalar] = {
        "dataset": data.dataset,
        "data_dir": data.data_dir,
        "body": SMOOTH,
        "filters": max(4, scale.filters // 4),
        "ways": scale.ways,
        "shots": scale.shots,
        "queries": scale.queries,
        "meta_batch_size": 2,
        "head": "linear",
        "inner_l2": 0.5,
        "seed": seed,
    }
    return Cell(f"anil_tf.study.measurements.{runner}", settings | changes)


def seeds(scale: Scale) -> tuple[int, ...]:
    """The seeds of the scale; only the first at smoke, which shows that all runs and decides nothing."""
    return scale.seeds[:1] if scale.name == "smoke" else scale.seeds


def of(frame: pd.DataFrame, name: str, **settings: Any) -> pd.DataFrame:
    """The rows of one prediction; none where it was not run.

    Args:
        frame: all results.
        name: "P1".
        **settings: values that columns must have.
    """
    if "prediction" not in frame:
        return frame.iloc[:0]
    rows = frame[frame["prediction"] == name]
    for column, value in settings.items() if len(rows) else ():
        rows = rows[rows[column] == value]
    return rows


# ---- Measurements beside bounds --------------------------------------------------------------------------------------


def within(rows: pd.DataFrame, *, visible: bool = True) -> Found:
    """Whether measurements stay within their bounds, every one of them.

    Args:
        rows: with columns seed, measured and bound.
        visible: whether the bound says enough to be seen.

    Returns:
        The largest ratio of measured to bound, the "interval" being the range of the seeds' largest; and the verdict:
        supported if it is at most 1, not supported if it is not, and inconclusive if a number is missing or the bound
        says too little.
    """
    largest = closest(rows)
    if not len(largest) or not np.isfinite(largest).all():
        return UNKNOWN, INCONCLUSIVE
    interval = Interval(largest.max(), largest.min(), largest.max(), len(largest))
    if interval.center > 1 + ROUNDING:
        return interval, NOT_SUPPORTED
    return interval, SUPPORTED if visible else INCONCLUSIVE


def closest(rows: pd.DataFrame) -> np.ndarray:
    """The largest measured / bound of each seed, [seeds]; nan where a number is missing."""
    if rows.empty:
        return np.zeros(0)
    told_apart = rows[~(rows["bound"] < NOISE)]
    ratio = told_apart["measured"].astype(float) / told_apart["bound"].astype(float)
    return ratio.groupby(told_apart["seed"]).apply(lambda one: one.max(skipna=False)).to_numpy()


def ratio_table(rows: pd.DataFrame, by: list[str], title: str, note: str) -> Table | None:
    """How close measurements come to their bounds, for each combination of some columns."""
    import pandas as pd

    if rows.empty:
        return None
    lines = []
    for key, part in rows.groupby(by, sort=False):
        largest = closest(part)
        last = part[part["inner_steps"] == part["inner_steps"].max()]
        line: dict[str, Any] = dict(zip(by, key, strict=True))
        line["largest measured / bound"] = largest.max() if len(largest) else math.nan
        line["largest N"] = int(part["inner_steps"].max())
        line["measured there"] = last["measured"].max()
        line["bound there"] = last["bound"].max()
        lines.append(line)
    return Table(title, pd.DataFrame(lines), note)
