"""What the predictions share: cells at a frozen point, and measurements beside derived bounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from anil_tf.study import figures
from anil_tf.study.cell import Cell, Scalar
from anil_tf.study.claims import VERDICTS, AtMost, Gate, Measured
from anil_tf.study.experiment import Data, Table
from anil_tf.study.figures import Panel
from anil_tf.study.scale import Scale
from anil_tf.study.statistics import UNKNOWN, Interval

SMOOTH, USUAL = "smooth_conv4", "conv4"

# A bound holds in exact arithmetic; computed, measured <= bound (1 + ROUNDING) + NOISE will do.
ROUNDING, NOISE = 1e-6, 1e-13
WITHIN_BOUND = AtMost(1 + ROUNDING)
BEYOND_ROUNDING = (
    f"Measured is taken less {NOISE:g}, and 1 may be passed by {ROUNDING:g}, for rounding."
)

# What the line of a bound is called where its constants are only the largest that were met.
ESTIMATE = "derived formula, sampled constants (estimate)"

NO_WIDTH = "Inconclusive too if several seeds all show the very same number: such an interval has no width."


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


def rows_of(frame: pd.DataFrame, name: str, **settings: Any) -> pd.DataFrame:
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


def largest_ratio(rows: pd.DataFrame) -> Interval | None:
    """The largest measured / bound, with the range of the seeds' largest; to be tested by `WITHIN_BOUND`.

    Args:
        rows: with columns seed, measured and bound; None without any.
    """
    return largest(ratio_by_seed(rows)) if len(rows) else None


def largest(values: np.ndarray) -> Interval:
    """The largest of some numbers in which there is no chance, with their range; unknown if one is missing."""
    if np.isnan(values).any():
        return UNKNOWN
    return Interval(values.max(), values.min(), values.max(), len(values))


def ratio_by_seed(rows: pd.DataFrame) -> np.ndarray:
    """The largest (measured - NOISE) / bound of each seed, 0 or more, [seeds]; nan where a number is missing.

    It exceeds 1 + ROUNDING just where a measurement exceeds bound (1 + ROUNDING) + NOISE.
    """
    measured, bound = (rows[name].to_numpy(float) for name in ("measured", "bound"))
    over = np.where(np.isnan(measured), np.nan, np.maximum(measured - NOISE, 0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(over == 0, 0.0 * bound, over / bound)
    by_seed = rows.assign(ratio=ratio).groupby("seed")["ratio"]
    return by_seed.agg(lambda one: one.max(skipna=False)).to_numpy(float)


def fades(name: str, below: float, *, share: float = 1.0, **settings: Any) -> Gate:
    """That q^N falls below a limit in every cell, so that its fading can be seen.

    Args:
        name: of the prediction, whose rows have columns cell, contraction (q) and inner_steps.
        below: the limit.
        share: of the largest N of a cell, at which q^N is taken.
        **settings: of the rows.
    """

    def reason(frame: pd.DataFrame) -> str:
        rows = rows_of(frame, name, **settings)
        if rows.empty:
            return ""
        cells = rows.groupby("cell")
        steps = cells["inner_steps"].max() * share
        power = cells["contraction"].first() ** steps
        worst = power.idxmax()
        return "" if power[worst] < below else f"q^{steps[worst]:g} = {power[worst]:.2g}"

    where = "the largest N" if share == 1 else f"{share:g} of the largest N"
    return Gate(
        f"Inconclusive, too, if at {where} q^N is not below {below:g} in every run.", reason
    )


def with_width(interval: Interval) -> Measured:
    """A number that decides nothing if its interval has no width over several seeds: see `NO_WIDTH`."""
    # Least squares leave rounding.
    has_none = math.isclose(interval.low, interval.high, rel_tol=1e-9, abs_tol=1e-12)
    return Measured(interval, decides=() if has_none and interval.count > 1 else VERDICTS)


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
    series, ticks = [], set()
    for rows, label, bound in parts:
        limit = rows.groupby(x)["bound"].max()
        series += [
            figures.measured(rows, x=x, y="measured", label=label),
            figures.bound(limit.index, limit.to_numpy(), bound.replace(", ", ",\n")),
        ]
        ticks |= set(limit.index)
    return Panel(series, x_label, y_label, title, log_x=True, log_y=True, ticks=sorted(ticks))


def ratio_table(rows: pd.DataFrame, by: list[str], title: str, note: str) -> Table | None:
    """How close measurements come to their bounds, for each combination of some columns."""
    lines = []
    for key, part in rows.groupby(by, sort=False) if len(rows) else ():
        last = part[part["inner_steps"] == part["inner_steps"].max()]
        lines.append(
            {
                **dict(zip(by, key, strict=True)),
                "largest measured / bound": ratio_by_seed(part).max(),
                "largest N": int(part["inner_steps"].max()),
                "measured there": last["measured"].max(),
                "bound there": last["bound"].max(),
            }
        )
    return Table(title, pd.DataFrame(lines), note) if lines else None
