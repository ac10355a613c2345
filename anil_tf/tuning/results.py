"""What a search has found: its trials, best first, and as trials.csv."""

from __future__ import annotations

import csv
import dataclasses
import io
import pathlib
from collections.abc import Iterable, Mapping, Sequence

from keras_tuner.engine.trial import Trial

from anil_tf.evaluation import Comparison
from anil_tf.files import write_atomically
from anil_tf.tuning import search_space
from anil_tf.tuning.score import Score
from anil_tf.tuning.search_space import HyperParameters, Value

# Best first, then what went wrong, then what is not known yet.
_ORDER = ("done", "diverged", "failed", "running")
_STATUS = {"COMPLETED": "done", "RUNNING": "running"}


@dataclasses.dataclass(frozen=True)
class Row:
    """A trial.

    Attributes:
        trial: its name, four digits, in the order in which trials began.
        status: "done"; "diverged", which is a finding and counts as chance; "failed", by an error; "running", or begun
            by a process that was stopped.
        values: of the settings that were searched.
        score: what it reached; None before it ends, or where it failed.
        behind: the accuracy of the best trial minus this one's, on the same episodes; None where they differ.
    """

    trial: str
    status: str
    values: Mapping[str, Value]
    score: Score | None = None
    behind: Comparison | None = None


def read(trials: Iterable[Trial], runs: pathlib.Path, space: HyperParameters) -> list[Row]:
    """The trials of a search, best first.

    Args:
        trials: those of an oracle.
        runs: their trainings, a directory each by the name of the trial.
        space: what was searched.
    """
    rows = [_row(trial, runs, space) for trial in trials]
    rows.sort(
        key=lambda row: (
            _ORDER.index(row.status),
            -row.score.accuracy if row.score else 0.0,
            row.trial,
        )
    )
    winner = best(rows)
    return [row if row is winner else _compared(row, winner) for row in rows]


def best(rows: Sequence[Row]) -> Row | None:
    """The trial with the highest accuracy, None before the first has ended well."""
    return rows[0] if rows and rows[0].status == "done" else None


def _row(trial: Trial, runs: pathlib.Path, space: HyperParameters) -> Row:
    values = search_space.rounded(space, trial.hyperparameters.values)
    status = _STATUS.get(trial.status, "failed")
    if status != "done":
        return Row(trial.trial_id, status, values)
    score = Score.read(runs / trial.trial_id)
    if score is None:  # on another machine; what was sent here, in 32 bits
        score = Score.of_metrics(trial.metrics.get_last_value)
    return Row(trial.trial_id, "diverged" if score.diverged else status, values, score)


def _compared(row: Row, winner: Row | None) -> Row:
    """A trial with its paired distance to the best one, where both have been scored on the same episodes."""
    first, second = winner and winner.score, row.score
    if not (first and second and first.per_episode and second.per_episode):
        return row
    if first.drawn_from != second.drawn_from:
        return row
    return dataclasses.replace(row, behind=first.compare(second))


def write_csv(rows: Sequence[Row], space: HyperParameters, path: pathlib.Path) -> None:
    """Writes trials.csv: a row per trial, best first; fractions, seconds, and a column per setting."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    settings = search_space.names(space)
    numbers = ("accuracy", "ci95", "behind", "behind_ci95", "epochs", "seconds")
    writer.writerow(["trial", "status", *numbers, *settings])
    for row in rows:
        score, behind = row.score, row.behind
        reached = (score.accuracy, score.ci95) if score else (None, None)
        distance = (behind.difference, behind.ci95) if behind else (None, None)
        cost = (score.epochs, score.seconds) if score else (None, None)
        shown = ["" if x is None else f"{x:.9g}" for x in (*reached, *distance, *cost)]
        values = [row.values.get(name, "") for name in settings]
        writer.writerow([row.trial, row.status, *shown, *values])
    write_atomically(path, text.getvalue())
