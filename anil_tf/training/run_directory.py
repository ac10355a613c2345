"""The directory of a run: whose it is, whether it is finished, and what may be done to it.

The options of a run are kept in flags.txt, a flagfile that repeats or resumes it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from typing import Any, TypeVar

from anil_tf.config import Config, flagfile
from anil_tf.files import write_atomically

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
C = TypeVar("C", bound=Config)


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

    def read(self, cls: type[C], **changes: Any) -> C:
        """The options of the run that is here; those that its version did not know are at their defaults.

        Args:
          cls: the class of the config.
          **changes: values that come before those of the run.
        """
        return flagfile.read(cls, self.file("flags.txt"), **changes)

    def check(self, config: Config) -> None:
        """Checks that a config goes on with the run that is here.

        What may differ: where the results lie, where the data lie unless they are the user's own
        folder, and more epochs under a constant schedule.

        Args:
          config: what is to be run.

        Raises:
          ValueError: naming the first option that differs.
        """
        if not self.exists:
            return
        before = self.read(type(config))
        for name, (old, new) in flagfile.differences(before, config).items():
            if not _is_harmless(name, before, config):
                raise ValueError(
                    f"the run in {self.path} was made with {old or f'no --{name}'}, received "
                    f"{new or f'no --{name}'}{_hint(name, before, config)}. Choose another --run_dir, or "
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
        config: Config,
        *,
        overwrite: bool = False,
        advice: Mapping[str, Any] | None = None,
    ) -> None:
        """Makes the directory and writes flags.txt.

        Args:
          config: what is to be run.
          overwrite: delete the run that is here first.
          advice: how options that were "auto" came about, as JSON can hold it; kept in advice.json.
        """
        if overwrite:
            self._delete_run()
        os.makedirs(self.path, exist_ok=True)
        if advice:
            write_atomically(self.file(_ADVICE), json.dumps(advice, indent=2) + "\n")
        heading = "The flags of this run: --flagfile=THIS_FILE repeats or resumes it."
        write_atomically(self.file("flags.txt"), flagfile.text(config, heading))

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


def _is_harmless(name: str, before: Any, now: Any) -> bool:
    """Whether a run computes the same although this option differs."""
    if name == "run_dir":
        return True
    if name == "data_dir":
        # TFDS' data are the same wherever they lie; a folder of images is the data set itself.
        return now.dataset != "image_folder" or flagfile.is_same_folder(
            before.data_dir, now.data_dir
        )
    if name == "epochs":
        # Any other schedule spreads over the epochs of the run.
        return now.epochs > before.epochs and now.schedule == "constant"
    return False


def _hint(name: str, before: Any, now: Any) -> str:
    if name != "epochs":
        return ""
    if now.epochs > before.epochs:
        return " (only a run with --schedule=constant can be extended)"
    return " (an extension may only raise it)"
