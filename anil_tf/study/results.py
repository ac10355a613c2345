"""The table of an experiment: one row for each row of each cell, with the settings beside it.

On disk it is results.csv, from which claims, figures and reports can be made anew. What is judged is always what was
read back from there, so that both ways see the same.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from anil_tf.files import write_atomically
from anil_tf.study import grid
from anil_tf.study.cell import Cell

if TYPE_CHECKING:
    import pandas as pd

# What the time of a meta-step depends on.
_DECIDES_TIME = (
    "dataset",
    "body",
    "filters",
    "ways",
    "shots",
    "queries",
    "meta_batch_size",
    "adapted_layers",
    "inner_steps",
    "differentiation",
    "normalization",
)


def collect(cells: Iterable[Cell], directory: str | os.PathLike[str]) -> pd.DataFrame:
    """The rows of finished cells, each cell once.

    Args:
        cells: all of them finished.
        directory: where `grid.run` put them.

    Returns:
        Columns `cell` (its name), `kind` (such as "training.run"), the settings but data_dir, and what the runners
        returned.

    Raises:
        ValueError: if a runner returns a column that is one of its settings, with another value.
    """
    import pandas as pd

    rows = []
    for cell in dict.fromkeys(cells):
        content = grid.read(cell, directory)
        settings = content["settings"]
        for row in content["rows"]:
            clash = [key for key in row if key in settings and row[key] != settings[key]]
            if clash:
                raise ValueError(
                    f"{cell.kind} returns {clash[0]}={row[clash[0]]!r}, which is one of its settings and has another "
                    "value there: give the column another name."
                )
            rows.append({"cell": cell.name, "kind": cell.kind} | settings | row)
    return pd.DataFrame(rows, columns=list(dict.fromkeys(key for row in rows for key in row)))


def write(frame: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Writes a table as csv: a row a line, missing values empty."""
    write_atomically(path, frame.to_csv(index=False, lineterminator="\n"))


def read(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Reads what `write` wrote, to the last digit; a column may hold numbers and words, such as 1 and "all"."""
    import pandas as pd

    # As words first: how exactly pandas reads numbers depends on its version.
    words = pd.read_csv(pathlib.Path(path), dtype=str, keep_default_na=False)
    values = {name: [_scalar(word) for word in words[name]] for name in words.columns}
    return pd.DataFrame(values, columns=list(values))


def rows_of(frame: pd.DataFrame, kind: str, **settings: Any) -> pd.DataFrame:
    """The rows of one kind of cell, without the columns that are not theirs; whole numbers are integers again.

    Args:
        frame: what `read` returns.
        kind: such as "training.run".
        **settings: values that columns must have, such as adapted_layers=1; a tuple means any of its values.

    Example:
        >>> rows_of(frame, "training.run", adapted_layers=1, inner_steps=(1, 5))  # doctest: +SKIP
    """
    import pandas as pd

    rows = frame[frame["kind"] == kind]
    for name, value in settings.items():
        rows = rows[rows[name].isin(value if isinstance(value, tuple) else (value,))]
    if rows.empty:
        return rows
    rows = rows.dropna(axis="columns", how="all").reset_index(drop=True)
    for name in rows.select_dtypes("float").columns:
        if (rows[name] % 1 == 0).all():
            rows[name] = rows[name].astype("int64")
    for name in rows.columns:
        if pd.api.types.is_object_dtype(rows[name]):
            rows[name] = pd.Series(rows[name].tolist())  # the narrowest type that fits
    return rows


def with_seconds(training: pd.DataFrame, timing: pd.DataFrame) -> pd.DataFrame:
    """Training rows with the time at which they are reached on an idle machine.

    Cells that run side by side disturb each other's clocks. So seconds are meta-steps times what `timing.run` found a
    meta-step of the same network, data and inner loop to take, alone; neither lambda nor alpha nor the seed matters.

    Args:
        training: `rows_of(frame, "training.run")`.
        timing: `rows_of(frame, "timing.run")`.

    Returns:
        `training` with columns `seconds_per_meta_step` and `seconds`; missing where nothing was timed.
    """
    keys = [name for name in _DECIDES_TIME if name in training and name in timing]
    per_step = timing.groupby(keys, as_index=False)["seconds_per_meta_step"].median()
    # One side may have adapted_layers 1 and 2, the other "all" as well: they are compared as they are.
    as_they_are = dict.fromkeys(keys, object)
    joined = training.astype(as_they_are).merge(
        per_step.astype(as_they_are), on=keys, how="left", validate="many_to_one"
    )
    joined = joined.astype(training.dtypes[keys].to_dict())
    return joined.assign(seconds=joined["meta_step"] * joined["seconds_per_meta_step"])


def sizes(frame: pd.DataFrame) -> dict[str, str]:
    """How large the training runs are, for readers: a number, or the smallest and the largest.

    Args:
        frame: what `read` returns.

    Returns:
        `meta_steps`, K, and `tasks_in_a_meta_step`, B; nothing where no run trains.

    Example:
        >>> sizes(frame)  # doctest: +SKIP
        {'meta_steps': '20 to 133', 'tasks_in_a_meta_step': '2'}
    """
    rows = frame[frame["kind"] == "training.run"]
    columns = {"meta_steps": "meta_steps", "tasks_in_a_meta_step": "meta_batch_size"}
    if rows.empty:
        return {}
    ends = {name: (rows[column].min(), rows[column].max()) for name, column in columns.items()}
    return {
        name: f"{least:g}" if least == most else f"{least:g} to {most:g}"
        for name, (least, most) in ends.items()
    }


def _scalar(word: str) -> Any:
    """A number, a truth value or a word, from its text; nan for none."""
    if word in ("True", "False"):
        return word == "True"
    for kind in (int, float):
        try:
            return kind(word or "nan")
        except ValueError:
            continue
    return word
