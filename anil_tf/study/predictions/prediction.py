"""One prediction of the theory, and what all of them share: where measurements stand beside derived bounds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
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

# A bound holds in exact arithmetic; computed, measured <= bound (1 + ROUNDING) + NOISE will do.
ROUNDING, NOISE = 1e-6, 1e-13
WITHIN = f"1 by more than rounding (measured <= bound (1 + {ROUNDING:g}) + {NOISE:g} will do)"

# What the line of a bound is called where its constants are only the largest that were met.
ESTIMATE = "derived formula, sampled constants (estimate)"

# What was measured, what the rule says of it, and why the design could not decide it, if so: see `claims.Claim`.
Found = tuple[Interval, Verdict] | tuple[Interval, Verdict, str]


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
        judge: interval, verdict and, where the design cannot decide, the reason of each rule, by its key.
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
        runner: see `cell.RUNNERS`.
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
    return Cell(runner, settings | changes)


def seeds(scale: Scale) -> tuple[int, ...]:
    """The seeds of the scale; only the first at smoke, which shows that all runs and decides nothing."""
    return scale.seeds[:1] if scale.name == "smoke" else scale.seeds


def not_at_smoke(cells: Callable[[Scale, Data], list[Cell]]) -> Callable[[Scale, Data], list[Cell]]:
    """The cells at all scales but smoke, whose whole time the constants of the body alone would take."""
    return lambda scale, data: [] if scale.name == "smoke" else cells(scale, data)


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


def within(rows: pd.DataFrame, *, unseen: str = "") -> Found:
    """Whether measurements stay within their bounds, every one of them.

    Args:
        rows: with columns seed, measured and bound.
        unseen: why the bound says too little to be put to a test; "" if it says enough.

    Returns:
        The largest ratio of measured to bound, the "interval" being the range of the seeds' largest; and the verdict:
        supported if all are within (see ROUNDING and NOISE), not supported if one is not, and inconclusive if a number
        is missing or the bound says too little.
    """
    largest = closest(rows)
    if not len(largest) or np.isnan(largest).any():
        return UNKNOWN, INCONCLUSIVE
    interval = Interval(largest.max(), largest.min(), largest.max(), len(largest))
    if interval.center > 1 + ROUNDING:
        return interval, NOT_SUPPORTED
    return (interval, INCONCLUSIVE, unseen) if unseen else (interval, SUPPORTED)


def closest(rows: pd.DataFrame) -> np.ndarray:
    """The largest (measured - NOISE) / bound of each seed, 0 or more, [seeds]; nan where a number is missing.

    It exceeds 1 + ROUNDING just where a measurement exceeds bound (1 + ROUNDING) + NOISE.
    """
    if rows.empty:
        return np.zeros(0)
    measured, bound = (rows[name].to_numpy(float) for name in ("measured", "bound"))
    over = np.where(np.isnan(measured), np.nan, np.maximum(measured - NOISE, 0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(over == 0, 0.0 * bound, over / bound)
    grouped = rows.assign(ratio=ratio).groupby("seed")["ratio"]
    return grouped.apply(lambda one: one.max(skipna=False)).to_numpy()


def unseen(rows: pd.DataFrame, below: float, *, share: float = 1.0) -> str:
    """Why q^N cannot be seen to fall: "q^64 = 0.73"; "" where it falls below a limit in every cell.

    Args:
        rows: with columns cell, contraction (q) and inner_steps.
        below: the limit.
        share: of the largest N of a cell, at which q^N is taken.
    """
    if rows.empty:
        return ""
    last = rows.groupby("cell")[["contraction", "inner_steps"]].agg(
        {"contraction": "first", "inner_steps": "max"}
    )
    steps = last["inner_steps"] * share
    power = last["contraction"] ** steps
    worst = power.idxmax()
    return "" if power[worst] < below else f"q^{steps[worst]:g} = {power[worst]:.2g}"


def bound_panel(
    parts: Sequence[tuple[pd.DataFrame, str, str]],
    *,
    x: str,
    x_label: str,
    y_label: str,
    title: str,
) -> Panel:
    """Measurements beside their bounds, both axes logarithmic.

    Args:
        parts: rows with columns `x`, measured and bound; the label of what was measured; and that of the bound.
        x: the column that goes to the right.
        x_label: what it is.
        y_label: what is measured.
        title: of the panel.
    """
    from anil_tf.study import figures

    series, ticks = [], set()
    for rows, label, bound in parts:
        limit = rows.groupby(x)["bound"].max()
        series += [
            figures.measured(rows, x=x, y="measured", label=label),
            figures.bound(limit.index, limit.to_numpy(), bound.replace(", ", ",\n")),
        ]
        ticks |= set(limit.index)
    return figures.Panel(
        series, x_label, y_label, title, log_x=True, log_y=True, ticks=sorted(ticks)
    )


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
