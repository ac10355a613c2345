"""The rows of `anil_vs_maml`, read: what an iteration of either method costs, and how far either is by then."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from anil_tf.study import results, statistics
from anil_tf.study.statistics import Interval

if TYPE_CHECKING:
    import pandas as pd

TRAINING, COST = "training.run", "meta_step_cost.run"  # kinds of cells
WORDS = {"anil": "ANIL", "maml": "MAML"}
UNKNOWN = Interval(math.nan, -math.inf, math.inf, 0)


# ---- What an iteration costs -----------------------------------------------------------------------------------------


def costs(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each seed, method and N, with entries of gradients and of second order for one task and meta-step."""
    rows = results.rows_of(frame, COST)
    if rows.empty:
        return rows
    head, body = rows["head_parameters"], rows["body_parameters"]
    return rows.assign(
        gradient_entries=rows["gradients"] * head + rows["body_backward"] * body,
        second_order_entries=rows["hessian_vector"] * head**2.0 + rows["mixed"] * head * body,
    )


def timed(rows: pd.DataFrame) -> Sequence[int]:
    """The N of rows from `costs`, ascending."""
    return [] if rows.empty else sorted(int(steps) for steps in rows["inner_steps"].unique())


def by_method(rows: pd.DataFrame, inner_steps: int, column: str) -> pd.DataFrame:
    """A column of `costs` at one N: seeds down, "anil" and "maml" to the right; missing where one was not measured."""
    if rows.empty:
        return rows
    part = rows[rows["inner_steps"] == inner_steps]
    return part.pivot(index="seed", columns="method", values=column).reindex(columns=list(WORDS))


def ratio(
    rows: pd.DataFrame,
    seconds: str,
    inner_steps: int,
    confidence: float = statistics.CONFIDENCE,
) -> Interval:
    """MAML / ANIL, measured.

    Args:
        rows: from `costs`.
        seconds: "seconds_per_meta_step" or "seconds_per_adaptation".
        inner_steps: N.
        confidence: see `statistics.mean`.
    """
    times = by_method(rows, inner_steps, seconds)
    return statistics.ratio(times["maml"], times["anil"], confidence) if len(times) else UNKNOWN


def model_ratio(rows: pd.DataFrame, inner_steps: int) -> float:
    """MAML / ANIL by the work of the body; nan if nothing was counted."""
    work = by_method(rows, inner_steps, "body_work")
    return float((work["maml"] / work["anil"]).median()) if len(work) else math.nan


# ---- Courses of training ---------------------------------------------------------------------------------------------


def courses(frame: pd.DataFrame) -> pd.DataFrame:
    """The checkpoints of both methods, with what had been spent by then.

    Returns:
        The training rows, and `method` ("anil", "maml"), `accuracy` (on the test classes, in per cent), `seconds`,
        `gradient_entries` and `second_order_entries`; missing where the cost of a meta-step is not known. Neither time
        nor counts depend on the seed: the cost of a meta-step is the median over seeds.
    """
    import pandas as pd

    rows = results.rows_of(frame, TRAINING)
    if rows.empty:
        return rows
    adapts_all = rows["adapted_layers"].astype(str) == "all"
    rows = rows.assign(
        method=np.where(adapts_all, "maml", "anil"), accuracy=100 * rows["test_accuracy"]
    )
    spent = {
        "seconds": "seconds_per_meta_step",
        "gradient_entries": "gradient_entries",
        "second_order_entries": "second_order_entries",
    }
    cost = costs(frame)
    if cost.empty:
        return rows.assign(**dict.fromkeys(spent, math.nan))
    per_step = cost.groupby(["method", "inner_steps"], as_index=False)[
        list(spent.values())
    ].median()
    joined = rows.merge(per_step, on=["method", "inner_steps"], how="left", suffixes=("", "_one"))
    of_tasks = joined["meta_step"] * joined["meta_batch_size"]
    joined["seconds"] = joined["meta_step"] * joined["seconds_per_meta_step"]
    for name in ("gradient_entries", "second_order_entries"):
        joined[name] = of_tasks * joined[name]
    return pd.DataFrame(joined.sort_values(["method", "seed", "meta_step"], ignore_index=True))


def after_equal_steps(rows: pd.DataFrame) -> Interval:
    """ANIL's accuracy minus MAML's at the last meta-step of MAML's run, in points.

    Args:
        rows: from `courses`; a seed whose ANIL run was not evaluated at that meta-step has no number.
    """
    differences = []
    for anil, maml in _pairs(rows):
        end = maml.iloc[-1]
        here = anil.loc[anil["meta_step"] == end["meta_step"], "accuracy"]
        differences.append((here.iloc[0] if len(here) else math.nan) - end["accuracy"])
    return statistics.mean(differences) if differences else UNKNOWN


def meeting_point(rows: pd.DataFrame, axis: str) -> int | None:
    """Where the methods are compared at equal expense: the last checkpoint of MAML that ANIL's run is long enough for.

    Args:
        rows: from `courses`.
        axis: the column of what is spent, such as "seconds".

    Returns:
        The meta-step of MAML, the same for all seeds, since the axis is; 0 if ANIL's run is over before MAML's first
        checkpoint after the start; None if what is spent is not known.
    """
    if rows.empty or not np.isfinite(rows[axis]).all():
        return None
    of = {method: rows[rows["method"] == method] for method in WORDS}
    if any(part.empty for part in of.values()):
        return None
    affordable = of["maml"][of["maml"][axis] <= of["anil"][axis].max()]
    return int(affordable["meta_step"].max())


def at_equal_expense(rows: pd.DataFrame, axis: str, value: str) -> Interval:
    """ANIL minus MAML at the `meeting_point`, ANIL between its checkpoints by a straight line.

    Args:
        rows: from `courses`.
        axis: the column of what is spent.
        value: the column that is compared.
    """
    place = meeting_point(rows, axis)
    if not place:
        return UNKNOWN
    differences = []
    for anil, maml in _pairs(rows):
        there = maml[maml["meta_step"] == place]
        if there.empty or not np.isfinite(anil[axis]).all():
            differences.append(math.nan)
            continue
        at = there.iloc[0]
        differences.append(np.interp(at[axis], anil[axis], anil[value]) - at[value])
    return statistics.mean(differences)


def entries_ratio(rows: pd.DataFrame, axis: str = "second_order_entries") -> Interval:
    """What ANIL spends until it has the test loss at which MAML ends, over what MAML spent.

    Args:
        rows: from `courses`.
        axis: the column of what is spent.
    """
    spent = []
    for anil, maml in _pairs(rows):
        end = maml.iloc[-1]
        known = np.isfinite([*anil[axis], end[axis], end["test_loss"]]).all()
        reached = (
            statistics.first_step_below(anil[axis], anil["test_loss"], end["test_loss"])
            if known
            else math.nan
        )
        spent.append((reached, end[axis]))
    if not spent:
        return UNKNOWN
    return statistics.ratio(*np.transpose(spent))


def _pairs(rows: pd.DataFrame) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    """The runs of ANIL and of MAML, seed by seed; a run that is missing is one checkpoint of missing numbers."""
    import pandas as pd

    if rows.empty:
        return []
    missing = pd.DataFrame([dict.fromkeys(rows.columns, math.nan)])
    pairs = []
    for _, of_seed in rows.groupby("seed"):
        runs = [of_seed[of_seed["method"] == method] for method in WORDS]
        pairs.append(tuple(missing if run.empty else run for run in runs))
    return pairs
