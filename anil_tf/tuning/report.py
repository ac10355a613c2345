"""What a search shows and leaves: the live table, trials.csv, best.flags, the pictures and landscape.json."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from anil_tf.files import write_atomically
from anil_tf.tuning import plots, trials
from anil_tf.tuning.plots import StabilityLimit
from anil_tf.tuning.search_directory import SearchDirectory
from anil_tf.tuning.search_space import SearchSpace, Value
from anil_tf.tuning.trials import Row

# Flagfile lines of a training of full length with the values of a trial.
Training = Callable[[Mapping[str, Value]], Iterable[str]]
# The limit at some weights, in words; with the values of a trial; by a model, or None for the initial weights.
Measure = Callable[[str, Mapping[str, Value], Path | None], StabilityLimit]

_ROWS = 10  # of the table while the search goes on


def write_tables(directory: SearchDirectory, space: SearchSpace, training: Training) -> list[Row]:
    """Writes trials.csv, and best.flags once a trial has ended well.

    Args:
        directory: of the search.
        space: what is searched.
        training: see `Training`.

    Returns:
        The trials, best first.
    """
    rows = trials.read(directory.search, directory.runs, space)
    trials.write_csv(rows, space, directory.file("trials.csv"))
    best = trials.best(rows)
    if best is not None:
        text = _best_flags(best, len(rows), training(best.values))
        write_atomically(directory.file("best.flags"), text)
    return rows


def _best_flags(best: Row, count: int, lines: Iterable[str]) -> str:
    head = [
        f"# The best of {count} trials by bin/tune.py: trial {best.name}, validation accuracy {score(best)}",
        f"# after {best.epochs:.0f} epochs. What was searched: {', '.join(best.values)}.",
        "#",
        "# Command:  python bin/train.py --flagfile=THIS_FILE --run_dir=RUN_DIR",
        "",
    ]
    return "\n".join([*head, *lines]) + "\n"


def score(row: Row) -> str:
    """The accuracy of a trial with its interval, in words."""
    return f"{100 * row.accuracy:.2f} ± {100 * row.ci95:.2f} %"


class Table:
    """Shows the trials, best first, whenever one has begun or ended.

    On a terminal the table stays in its place; elsewhere it is printed when a trial has ended.

    Args:
        rows: reads the trials, best first.
        space: what is searched.
        headline: what stands above the table, from the number of trials that have ended.
    """

    def __init__(
        self, rows: Callable[[], list[Row]], space: SearchSpace, headline: Callable[[int], str]
    ):
        self._rows, self._space, self._headline = rows, space, headline
        self._shown: list[Row] = []

    def update(self) -> None:
        """Shows what has changed."""
        rows = self._rows()
        is_terminal = sys.stdout.isatty()
        has_news = rows != self._shown if is_terminal else _ended(rows) != _ended(self._shown)
        if not has_news:
            return
        self._shown = rows
        clear = "\033[2J\033[H" if is_terminal else ""
        table = trials.table(rows, self._space, _ROWS)
        print(f"{clear}{self._headline(_ended(rows))}\n{table}\n", flush=True)

    def show_all(self) -> list[Row]:
        """Shows every trial, unless that has just been done; returns them."""
        rows = self._rows()
        if rows != self._shown or len(rows) > _ROWS:
            print(trials.table(rows, self._space))
        return rows


def _ended(rows: Sequence[Row]) -> int:
    return sum(row.status != "running" for row in rows)


def draw(
    rows: Sequence[Row], directory: SearchDirectory, space: SearchSpace, measure: Measure
) -> None:
    """Draws accuracy.png and, where it says something, inner_loop.png; nothing before a trial has a score.

    A landscape that cannot be measured is told in a line, and costs the picture no more than its lines.

    Args:
        rows: the trials, best first.
        directory: of the search.
        space: what is searched.
        measure: see `Measure`.
    """
    if not plots.have_scores(rows):
        return
    plots.draw_accuracies(rows, space, directory.file("accuracy.png"))
    if plots.has_inner_loop(space):
        limits = _limits(rows[0], directory, measure)
        plots.draw_inner_loop(rows, space, directory.file("inner_loop.png"), limits)


def _limits(first: Row, directory: SearchDirectory, measure: Measure) -> list[StabilityLimit]:
    """The limits before and after the training of the first of the trials; kept in landscape.json."""
    limits: list[StabilityLimit] = []
    try:
        path = directory.file("landscape.json")
        kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if kept.get("trial") == first.name:
            return [StabilityLimit(**limit) for limit in kept["limits"]]
        limits.append(measure("before training", first.values, None))
        model = directory.runs / first.name / "model.keras"
        if model.exists():
            limits.append(measure("after the best trial", first.values, model))
        content = {"trial": first.name, "limits": [vars(limit) for limit in limits]}
        write_atomically(path, json.dumps(content, indent=1) + "\n")
    except Exception as error:  # for want of a line, no search of hours ends without its result
        why = " ".join(str(error).split())[:300] or type(error).__name__
        print(f"inner_loop.png lacks a stability limit: {why}", file=sys.stderr, flush=True)
    return limits
