"""The directory of a search: what is in it, and whose it is.

flags.txt        the settings of the search, as flagfile lines
search/          KerasTuner's files; and `lock`, which the process holds that writes what is common to all
trials/NAME/     the training of each trial, a run directory
trials.csv, best.flags, accuracy.png, inner_loop.png, landscape.json

Chief and workers share it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import shutil
from collections.abc import Iterator

from anil_tf.config import Tune, flagfile
from anil_tf.files import write_atomically
from anil_tf.tuning import score


class SearchDirectory:
    """A search directory, new or old.

    Args:
        path: the directory; need not exist.

    Raises:
        ValueError: if the path is a file, or a directory with something else in it.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = pathlib.Path(path).expanduser().absolute()
        self.search = self.path / "search"
        self.runs = self.path / "trials"
        if self.path.exists() and not self.path.is_dir():
            raise ValueError("expected a directory, found a file. Choose another directory.")
        found = {file.name for file in self.path.iterdir()} if self.path.exists() else set()
        started = {"search", "flags.txt.tmp"}  # what a start that was killed at once may have left
        if found - started and not self.exists:
            raise ValueError(
                "the directory is not empty and holds no search (no flags.txt). Choose another."
            )

    @property
    def exists(self) -> bool:
        """Whether a search has been started here."""
        return self.file("flags.txt").is_file()

    def file(self, name: str) -> pathlib.Path:
        """The path of something in this directory."""
        return self.path / name

    def check(self, config: Tune) -> None:
        """Checks that a config goes on with the search that is here; where TFDS keeps its data may differ.

        Raises:
            ValueError: naming the first option that differs.
        """
        if not self.exists:
            return
        before = flagfile.read(Tune, self.file("flags.txt"), output_dir=config.output_dir)
        for name, (old, new) in flagfile.differences(before, config).items():
            if name != "data_dir" or config.dataset == "image_folder":
                raise ValueError(
                    f"the search in {self.path} was made with {old or f'no --{name}'}, received "
                    f"{new or f'no --{name}'}. Choose another --output_dir."
                )

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Makes the directory, and keeps every other process from holding it inside; a kill lets go of it.

        Raises:
            RuntimeError: if another process holds it.
        """
        self.search.mkdir(parents=True, exist_ok=True)
        with (self.search / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RuntimeError(
                    f"another process searches in {self.path}. Wait for it or end it, or choose another --output_dir; "
                    "in parallel, one chief has workers."
                ) from None
            yield

    def prepare(self, config: Tune) -> None:
        """Makes the directory and writes flags.txt."""
        self.search.mkdir(parents=True, exist_ok=True)
        write_atomically(self.file("flags.txt"), flagfile.text(config, "The flags of this search."))
        self.runs.mkdir(exist_ok=True)

    def run(self, trial: str, goes_on_from: str | None = None) -> pathlib.Path:
        """The run directory of a trial, which need not exist.

        Args:
            trial: its name.
            goes_on_from: the trial whose training it begins with, where it has none of its own yet.
        """
        folder = self.runs / trial
        if goes_on_from is not None and not folder.exists():
            copy = self.runs / f"{trial}.tmp"
            shutil.rmtree(copy, ignore_errors=True)
            ignored = shutil.ignore_patterns(score.FILE, "tensorboard", "model.keras")
            shutil.copytree(self.runs / goes_on_from, copy, ignore=ignored)
            copy.rename(folder)  # all of it or none
        return folder
