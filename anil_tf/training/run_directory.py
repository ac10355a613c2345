"""The directory of a run: whose it is, whether it is finished, and what may be done to it.

The settings of a run are given as flagfile lines by name, such as {"ways": "--ways=5"}; they are
kept in flags.txt, so that the file repeats or resumes the run.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping

from anil_tf.training.logs import write_atomically

# Where data and results lie may change between two starts of a run; what it computes may not.
_MAY_DIFFER = frozenset({"run_dir", "data_dir"})
_FILES = (
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
        # A start that was killed at once may have left the first file half written.
        found = set(os.listdir(path)) - {"flags.txt.tmp"} if os.path.isdir(path) else set()
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

    def check(self, settings: Mapping[str, str]) -> None:
        """Checks that these settings go on with the run that is here.

        Args:
          settings: flag name to flagfile line.

        Raises:
          ValueError: naming the first setting that differs; more epochs are no difference.
        """
        if not self.exists:
            return
        before = self._settings()
        for name, line in settings.items():
            old = before.get(name)
            if name in _MAY_DIFFER or old is None or old == line:
                continue
            if name == "epochs" and _number(line) > _number(old):
                continue
            hint = " (an extension may only raise it)" if name == "epochs" else ""
            raise ValueError(
                f"the run in {self.path} was made with {old}, received {line}{hint}. Choose "
                "another --run_dir, or --overwrite to delete that run."
            )

    def prepare(self, settings: Mapping[str, str], *, overwrite: bool = False) -> None:
        """Makes the directory and writes flags.txt.

        Args:
          settings: flag name to flagfile line.
          overwrite: delete the run that is here first.
        """
        if overwrite:
            self._delete_run()
        os.makedirs(self.path, exist_ok=True)
        lines = ["# The flags of this run: --flagfile=THIS_FILE repeats or resumes it."]
        write_atomically(self.file("flags.txt"), "\n".join([*lines, *settings.values()]) + "\n")

    def finish(self, epochs: int) -> None:
        """Notes that everything is written."""
        os.makedirs(self.file("checkpoints"), exist_ok=True)
        write_atomically(
            self.file("checkpoints", "finished.json"), json.dumps({"epochs": epochs}) + "\n"
        )

    def _settings(self) -> dict[str, str]:
        with open(self.file("flags.txt"), encoding="utf-8") as file:
            lines = [line.strip() for line in file if line.startswith("--")]
        settings = {line[2:].partition("=")[0]: line for line in lines}
        # --noaugment is the flag augment; no flag of ours has a name that begins with "no" and
        # goes on as another flag's.
        return settings | {
            name[2:]: line
            for name, line in settings.items()
            if name.startswith("no") and "=" not in line
        }

    def _delete_run(self) -> None:
        """Deletes the files of a run, and nothing else that somebody put beside them.

        flags.txt stays until the new one replaces it: it is what marks the directory as ours.
        """
        for name in _DIRECTORIES:
            shutil.rmtree(self.file(name), ignore_errors=True)
        for name in _FILES:
            if os.path.exists(self.file(name)):
                os.remove(self.file(name))


def _number(line: str) -> int:
    return int(line.partition("=")[2])
