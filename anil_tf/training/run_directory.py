"""The directory of a run: whose it is, whether it is finished, and what may be done to it.

The settings of a run are given as flagfile lines by name, such as {"ways": "--ways=5"}; they are
kept in flags.txt, so that the file repeats or resumes the run (`anil_tf.flags` writes and reads
such lines).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from typing import Any

from anil_tf.files import write_atomically
from anil_tf.flags import read_settings

_ADVICE = "advice.json"
_FILES = (
    _ADVICE,
    "metrics.csv",
    "timing.csv",
    "model.keras",
    "curves.png",
    "episodes.png",
    "card.md",
    "card.json",
    "evaluations.jsonl",
)
_DIRECTORIES = ("checkpoints", "tensorboard")


class RunDirectory:
    """A run directory, new or old.

    Args:
      path: the directory; need not exist.

    Raises:
      ValueError: if the path is a file, or a directory with something else in it.
    """

    def __init__(self, path: str):
        self.path = os.path.abspath(path)
        if os.path.exists(path) and not os.path.isdir(path):
            raise ValueError("expected a directory, found a file. Choose another directory.")
        # A start that was killed at once may have left its first files, the last one half written.
        started = {_ADVICE, f"{_ADVICE}.tmp", "flags.txt.tmp"}
        found = set(os.listdir(path)) - started if os.path.isdir(path) else set()
        if found and not self.exists:
            raise ValueError(
                "the directory is not empty and holds no run (no flags.txt). Choose another."
            )

    @property
    def exists(self) -> bool:
        """Whether a run has been started here."""
        return os.path.isfile(self.file("flags.txt"))

    @property
    def finished_epochs(self) -> int:
        """The number of epochs of a finished run, 0 if it is not finished."""
        try:
            with open(self.file("checkpoints", "finished.json"), encoding="utf-8") as file:
                return int(json.load(file)["epochs"])
        except FileNotFoundError:
            return 0

    def file(self, *parts: str) -> str:
        """The path of something in this directory."""
        return os.path.join(self.path, *parts)

    def check(self, settings: Mapping[str, str], defaults: Mapping[str, str]) -> None:
        """Checks that these settings go on with the run that is here.

        What may differ: where the results lie, where the data lie unless they are the user's own
        folder, and more epochs under a constant schedule.

        Args:
          settings: flag name to flagfile line.
          defaults: the same for every flag that has a default; it stands for one that is missing
            here, or in the run because its version did not know the flag.

        Raises:
          ValueError: naming the first setting that differs.
        """
        if not self.exists:
            return
        before = {**defaults, **read_settings(self.file("flags.txt"))}
        now = {**defaults, **settings}
        for name in dict.fromkeys([*now, *before]):
            old, new = before.get(name), now.get(name)
            if old == new or _is_harmless(name, old, new, now):
                continue
            raise ValueError(
                f"the run in {self.path} was made with {old or f'no --{name}'}, received "
                f"{new or f'no --{name}'}{_hint(name, old, new)}. Choose another --run_dir, or "
                "--overwrite to delete that run."
            )

    @property
    def advice(self) -> dict[str, Any]:
        """What `prepare` was given as advice when the run began; empty if it was given none."""
        if not (self.exists and os.path.isfile(self.file(_ADVICE))):
            return {}
        with open(self.file(_ADVICE), encoding="utf-8") as file:
            return json.load(file)

    def prepare(
        self,
        settings: Mapping[str, str],
        *,
        overwrite: bool = False,
        advice: Mapping[str, Any] | None = None,
    ) -> None:
        """Makes the directory and writes flags.txt.

        Args:
          settings: flag name to flagfile line.
          overwrite: delete the run that is here first.
          advice: how settings that were automatic came about, as JSON can hold it; kept in
            advice.json.
        """
        if overwrite:
            self._delete_run()
        os.makedirs(self.path, exist_ok=True)
        if advice:
            write_atomically(self.file(_ADVICE), json.dumps(advice, indent=2) + "\n")
        lines = ["# The flags of this run: --flagfile=THIS_FILE repeats or resumes it."]
        write_atomically(self.file("flags.txt"), "\n".join([*lines, *settings.values()]) + "\n")

    def finish(self, epochs: int) -> None:
        """Notes that everything is written."""
        os.makedirs(self.file("checkpoints"), exist_ok=True)
        write_atomically(
            self.file("checkpoints", "finished.json"), json.dumps({"epochs": epochs}) + "\n"
        )

    def _delete_run(self) -> None:
        """Deletes the files of a run, and nothing else that somebody put beside them.

        flags.txt stays until the new one replaces it: it is what marks the directory as ours.
        """
        for name in _DIRECTORIES:
            shutil.rmtree(self.file(name), ignore_errors=True)
        for name in _FILES:
            if os.path.exists(self.file(name)):
                os.remove(self.file(name))


def _is_harmless(name: str, old: str | None, new: str | None, now: Mapping[str, str]) -> bool:
    """Whether a run computes the same although this setting differs."""
    if name == "run_dir":
        return True
    if name == "data_dir":
        # TFDS' data are the same wherever they lie; a folder of images is the data set itself.
        is_the_data = now.get("dataset") == "--dataset=image_folder"
        return not is_the_data or _folder(old) == _folder(new)
    if name == "epochs":
        # Any other schedule spreads over the epochs of the run.
        return _is_raised(old, new) and now.get("schedule") == "--schedule=constant"
    return False


def _hint(name: str, old: str | None, new: str | None) -> str:
    if name != "epochs":
        return ""
    if _is_raised(old, new):
        return " (only a run with --schedule=constant can be extended)"
    return " (an extension may only raise it)"


def _is_raised(old: str | None, new: str | None) -> bool:
    return old is not None and new is not None and int(_value(new)) > int(_value(old))


def _folder(line: str | None) -> str | None:
    return None if line is None else os.path.realpath(os.path.expanduser(_value(line)))


def _value(line: str) -> str:
    return line.partition("=")[2]
