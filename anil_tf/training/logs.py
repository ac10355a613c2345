"""What a run writes down: metrics.csv, timing.csv, TensorBoard, and progress on the terminal."""

from __future__ import annotations

import csv
import io
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tqdm

from anil_tf.files import write_atomically
from anil_tf.training.checkpoints import Position


class Table:
    """A CSV file with one row per epoch, whose first column is the epoch, counted from 1.

    Args:
      path: the file; rows in it are kept.
      columns: the names of the columns.
    """

    def __init__(self, path: str, columns: Sequence[str]):
        self._path = path
        self._columns = list(columns)
        self._rows: list[dict[str, str]] = []
        if os.path.exists(path):
            with open(path, encoding="utf-8", newline="") as file:
                self._rows = list(csv.DictReader(file))

    def keep(self, epochs: int) -> None:
        """Drops the rows after this epoch: what follows the checkpoint is done again."""
        self._rows = [row for row in self._rows if int(row["epoch"]) <= epochs]
        self._write()

    def append(self, row: dict[str, Any]) -> None:
        """Adds the row of an epoch."""
        self._rows.append({name: _shown(row[name]) for name in self._columns})
        self._write()

    def _write(self) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        write_atomically(self._path, text.getvalue())


def _shown(value: Any) -> str:
    """Nine digits tell any two float32 numbers apart."""
    return f"{value:.9g}" if isinstance(value, float) else str(value)


class EpochLog(keras.callbacks.Callback):
    """Writes a row of metrics.csv and of timing.csv, and one line on the terminal, per epoch.

    Args:
      run_dir: the directory of the two files.
      position: where the run stands; its times are read here and kept in the checkpoint.
      steps_per_epoch: meta-steps in an epoch.
      epochs: epochs of the whole run.
      meta_batch_size: episodes in a meta-step.
      metrics: names of the training metrics, "loss" first.
      say: prints a line.
      writes: whether this process writes.
    """

    def __init__(
        self,
        run_dir: str,
        position: Position,
        *,
        steps_per_epoch: int,
        epochs: int,
        meta_batch_size: int,
        metrics: Sequence[str],
        say: Callable[[str], None],
        writes: bool = True,
    ):
        super().__init__()
        self._position = position
        self._steps_per_epoch = steps_per_epoch
        self._epochs = epochs
        self._meta_batch_size = meta_batch_size
        self._metrics = [*metrics, *(f"val_{name}" for name in metrics)]
        self._say = say
        self._tables: list[Table] = []
        if writes:
            sizes = ("outer_step_size_body", "outer_step_size_head")
            columns = ("epoch", "step", *self._metrics, *sizes)
            timing = ("epoch", "seconds", "episodes_per_second")
            self._tables = [
                Table(os.path.join(run_dir, "metrics.csv"), columns),
                Table(os.path.join(run_dir, "timing.csv"), timing),
            ]
            for table in self._tables:
                table.keep(position.epoch)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the clock where a stopped epoch left it."""
        self._start = time.monotonic() - self._position.epoch_seconds

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Reads the clock."""
        self._position.epoch_seconds = time.monotonic() - self._start

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes the rows and the line."""
        logs = logs or {}
        episodes = self._steps_per_epoch * self._meta_batch_size
        training_seconds = self._position.epoch_seconds
        seconds = time.monotonic() - self._start
        self._position.epoch_seconds = seconds
        rate = episodes / max(training_seconds, 1e-9)
        sizes = self.model.optimizer.step_sizes()
        metrics = {
            "epoch": epoch + 1,
            "step": (epoch + 1) * self._steps_per_epoch,
            **{name: float(logs[name]) for name in self._metrics},
            "outer_step_size_body": sizes["body"],
            "outer_step_size_head": sizes["head"],
        }
        timing = {"epoch": epoch + 1, "seconds": seconds, "episodes_per_second": rate}
        for table, row in zip(self._tables, (metrics, timing), strict=False):
            table.append(row)
        values = "  ".join(f"{name} {float(logs[name]):.4f}" for name in self._metrics)
        left = _duration((self._position.seconds + seconds) / (epoch + 1) * self._left(epoch))
        self._say(f"epoch {epoch + 1}/{self._epochs}  {values}  {rate:.0f} episodes/s  {left} left")

    def _left(self, epoch: int) -> int:
        return self._epochs - epoch - 1


def _duration(seconds: float) -> str:
    hours, minutes = divmod(round(seconds) // 60, 60)
    return f"{hours}:{minutes:02d}:{round(seconds) % 60:02d}"


class ProgressBar(keras.callbacks.Callback):
    """One bar for the whole run: loss, accuracy, episodes per second and the time left.

    It shows on a terminal only; elsewhere the lines of `EpochLog` stand alone.

    Args:
      total_steps: meta-steps of the run.
      done_steps: meta-steps that earlier starts of the run have done.
      meta_batch_size: episodes in a meta-step.
    """

    def __init__(self, total_steps: int, done_steps: int, meta_batch_size: int):
        super().__init__()
        self._meta_batch_size = meta_batch_size
        self._bar = tqdm.tqdm(
            total=total_steps * meta_batch_size,
            initial=done_steps * meta_batch_size,
            unit=" episodes",
            dynamic_ncols=True,
            disable=None,  # that is: unless standard error is a terminal
        )

    def say(self, line: str) -> None:
        """Prints a line on standard output without breaking the bar."""
        tqdm.tqdm.write(line, file=sys.stdout)
        sys.stdout.flush()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Moves the bar."""
        shown = {name: f"{float(value):.4f}" for name, value in (logs or {}).items()}
        self._bar.set_postfix(shown, refresh=False)
        self._bar.update(self._meta_batch_size)

    def close(self) -> None:
        """Leaves the terminal in order."""
        self._bar.close()
