"""The trials as a table for people, shown while the search goes on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from anil_tf.tuning import search_space
from anil_tf.tuning.results import Row
from anil_tf.tuning.score import percent
from anil_tf.tuning.search_space import HyperParameters, Value

_ROWS = 10  # while the search goes on


class Table:
    """Shows the trials, best first, whenever one has begun or ended.

    On a terminal the table stays in its place; elsewhere it is printed when a trial has ended.

    Args:
        read: reads the trials, best first.
        space: what is searched.
        headline: what stands above the table, from the number of trials that have ended.
    """

    def __init__(
        self, read: Callable[[], list[Row]], space: HyperParameters, headline: Callable[[int], str]
    ):
        self._read, self._space, self._headline = read, space, headline
        self._shown: list[Row] = []

    def update(self) -> None:
        """Shows what has changed."""
        rows = self._read()
        is_terminal = sys.stdout.isatty()
        has_news = rows != self._shown if is_terminal else _ended(rows) != _ended(self._shown)
        if has_news:
            self._shown = rows
            clear = "\033[2J\033[H" if is_terminal else ""
            table = text(rows, self._space, _ROWS)
            print(f"{clear}{self._headline(_ended(rows))}\n{table}\n", flush=True)

    def show_all(self) -> list[Row]:
        """Shows every trial, unless that has just been done; returns them."""
        rows = self._read()
        if rows != self._shown or len(rows) > _ROWS:
            print(text(rows, self._space))
        return rows


def _ended(rows: Sequence[Row]) -> int:
    return sum(row.status != "running" for row in rows)


def text(rows: Sequence[Row], space: HyperParameters, most: int | None = None) -> str:
    """The trials as an aligned table.

    Args:
        rows: best first.
        space: what was searched: a column for each setting.
        most: how many trials are shown at most; those that run always are.
    """
    shown = [
        row for i, row in enumerate(rows) if most is None or i < most or row.status == "running"
    ]
    settings = search_space.names(space)
    heads = ["trial", "status", "accuracy %", "behind best", "epochs", "seconds", *settings]
    cells = [[*_cells(row), *(_shown(row.values.get(name)) for name in settings)] for row in shown]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    # Words to the left, numbers to the right.
    layout = "  ".join(f"{{:{'<' if i < 2 else '>'}{width}}}" for i, width in enumerate(widths))
    lines = [layout.format(*line).rstrip() for line in [heads, *cells]]
    if len(shown) < len(rows):
        lines.append(f"and {len(rows) - len(shown)} more, in trials.csv")
    return "\n".join(lines)


def _cells(row: Row) -> list[str]:
    if row.score is None:
        return [row.trial, row.status, "", "", "", ""]
    reached = "chance" if row.status == "diverged" else percent(row.score.accuracy, row.score.ci95)
    behind = percent(row.behind.difference, row.behind.ci95) if row.behind else ""
    cost = f"{row.score.epochs:.0f}", f"{row.score.seconds:.0f}"
    return [row.trial, row.status, reached, behind, *cost]


def _shown(value: Value | None) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else f"{value:g}"
