"""What a search has found: its trials, best first, as a table for people and as trials.csv.

Read from the files that KerasTuner keeps, so that a table can be made while others search, and after a kill.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from anil_tf.files import write_atomically
from anil_tf.tuning import objective
from anil_tf.tuning.search_space import SearchSpace, Value

_STATUS = {"COMPLETED": "done", "RUNNING": "running"}
# Best first, then what went wrong, then what is not known yet.
_ORDER = ("done", "diverged", "failed", "running")
_COLUMNS = ("trial", "status", "accuracy", "ci95", "behind", "behind_ci95", "epochs", "seconds")


@dataclasses.dataclass(frozen=True)
class Row:
    """A trial.

    Attributes:
        name: four digits, in the order in which trials began.
        status: "done"; "diverged", which is a finding and counts as chance; "failed", by an error; "running", or begun
            by a process that was stopped.
        values: of the settings that were searched.
        accuracy: on the validation episodes, a fraction; nan where there is none.
        ci95: half the width of its 95 % interval.
        behind: the accuracy of the best trial minus this one's, on the same episodes; nan where there is none.
        behind_ci95: half the width of the 95 % interval of this paired difference.
        epochs: of its training.
        seconds: of its training.
    """

    name: str
    status: str
    values: Mapping[str, Value]
    accuracy: float = math.nan
    ci95: float = math.nan
    behind: float = math.nan
    behind_ci95: float = math.nan
    epochs: float = math.nan
    seconds: float = math.nan


def read(search: pathlib.Path, runs: pathlib.Path, space: SearchSpace) -> list[Row]:
    """Reads the trials of a search.

    Args:
        search: KerasTuner's directory.
        runs: the trainings of the trials, a directory each, by the name of the trial.
        space: what was searched.

    Returns:
        The trials, best first.
    """
    states = [_state(path) for path in sorted(search.glob("trial_*/trial.json"))]
    scores = {state["trial_id"]: objective.read(runs / state["trial_id"]) for state in states}
    rows = [_row(state, scores[state["trial_id"]], space) for state in states]
    rows.sort(key=lambda row: (_ORDER.index(row.status), -_number(row.accuracy), row.name))
    winner = best(rows)
    if winner is None:
        return rows
    return [dataclasses.replace(row, **_behind(scores, winner, row)) for row in rows]


def best(rows: Sequence[Row]) -> Row | None:
    """The trial with the highest accuracy, None before the first has ended well."""
    return rows[0] if rows and rows[0].status == "done" else None


def _state(path: pathlib.Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _row(state: dict[str, Any], score: objective.Score | None, space: SearchSpace) -> Row:
    # The score as the trial wrote it, or where that is on another machine, as it was sent here in 32 bits.
    metrics = state["metrics"]["metrics"] if score is None else {}
    found = {name: metric["observations"][-1]["value"][-1] for name, metric in metrics.items()}
    if score is not None:
        found = score.metrics()
    status = _STATUS.get(state["status"], "failed")
    if status == "done" and found["diverged"]:
        status = "diverged"
    known = {name: found[name] for name in ("accuracy", "ci95", "epochs", "seconds") if found}
    values = space.plain(state["hyperparameters"]["values"])
    return Row(state["trial_id"], status, values, **(known if status != "running" else {}))


def _behind(scores: Mapping[str, objective.Score | None], winner: Row, row: Row) -> dict[str, Any]:
    """How far a trial is behind the best one, with the interval of the paired difference."""
    first, second = scores[winner.name], scores[row.name]
    if row is winner or row.status != "done" or first is None or second is None:
        return {}
    if first.drawn_from != second.drawn_from:
        return {}
    compared = objective.compare(first, second)
    return {"behind": compared.difference, "behind_ci95": compared.ci95}


def _number(value: float) -> float:
    return -1.0 if math.isnan(value) else value


# ---- For people ------------------------------------------------------------------------------------------------------


def table(rows: Sequence[Row], space: SearchSpace, most: int | None = None) -> str:
    """The trials as an aligned table.

    Args:
        rows: best first.
        space: what was searched: a column for each setting.
        most: how many trials are shown at most; those that run always are.

    Returns:
        Lines of text.
    """
    shown = [
        row for i, row in enumerate(rows) if most is None or i < most or row.status == "running"
    ]
    heads = ["trial", "status", "accuracy %", "behind best", "epochs", "seconds", *space.names]
    cells = [_cells(row, space) for row in shown]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    # Words to the left, numbers to the right.
    layout = [f"{{:{'<' if i < 2 else '>'}{width}}}" for i, width in enumerate(widths)]
    lines = ["  ".join(layout).format(*line).rstrip() for line in [heads, *cells]]
    if len(shown) < len(rows):
        lines.append(f"and {len(rows) - len(shown)} more, in trials.csv")
    return "\n".join(lines)


def _cells(row: Row, space: SearchSpace) -> list[str]:
    return [
        row.name,
        row.status,
        "chance" if row.status == "diverged" else _percent(row.accuracy, row.ci95),
        _percent(row.behind, row.behind_ci95),
        "" if math.isnan(row.epochs) else f"{row.epochs:.0f}",
        "" if math.isnan(row.seconds) else f"{row.seconds:.0f}",
        *(_value(row.values.get(name)) for name in space.names),
    ]


def _percent(fraction: float, ci95: float) -> str:
    return "" if math.isnan(fraction) else f"{100 * fraction:.2f} ± {100 * ci95:.2f}"


def _value(value: Value | None) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}"


# ---- For programs ----------------------------------------------------------------------------------------------------


def write_csv(rows: Sequence[Row], space: SearchSpace, path: pathlib.Path) -> None:
    """Writes trials.csv: a row per trial, best first; fractions, seconds, and a column per setting.

    Args:
        rows: the trials.
        space: what was searched.
        path: the file.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_COLUMNS, *space.names])
    for row in rows:
        numbers = (row.accuracy, row.ci95, row.behind, row.behind_ci95, row.epochs, row.seconds)
        shown = ["" if math.isnan(number) else f"{number:.9g}" for number in numbers]
        values = [row.values.get(name, "") for name in space.names]
        writer.writerow([row.name, row.status, *shown, *values])
    write_atomically(path, text.getvalue())
