"""A cell: one unit of work of the study, such as one training run with one seed.

A cell is a runner, named by its module and function, and settings; its rows depend on nothing else. So a cell that was
run once, by whatever experiment, need not be run again: its name says what it is.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
from collections.abc import Callable, Mapping
from typing import Any

Scalar = str | int | float | bool | None
Settings = Mapping[str, Scalar]
Row = dict[str, Any]

# Where data lie does not change what they are.
_NOT_IN_THE_NAME = frozenset({"data_dir"})
_HASH_DIGITS = 12


@dataclasses.dataclass(frozen=True)
class Cell:
    """One unit of work.

    Attributes:
        runner: "package.module:function"; the function takes the settings, a dict, and returns rows, a list of dicts of
            JSON scalars (nan and infinities become missing values).
        settings: everything that the rows depend on, the seed included.
        alone: whether nothing may run beside it, and it gets all cores: for what measures time.

    Example:
        >>> Cell("anil_tf.study.training:run", {"seed": 0}).name
        'training.run-fb1c2d1ed1f6'
    """

    runner: str
    settings: Settings
    alone: bool = False

    def __post_init__(self):
        """Refuses what cannot be run or written down, and takes a copy of the settings."""
        module, _, function = self.runner.partition(":")
        if not (module and function):
            raise ValueError(
                f"runner must be 'package.module:function'. Received: {self.runner!r}."
            )
        for key, value in self.settings.items():
            if not isinstance(value, str | int | float | bool | None):
                raise ValueError(
                    f"settings must be scalars. Received: {key}={value!r} of type {type(value).__name__}."
                )
        object.__setattr__(self, "settings", dict(self.settings))

    def __hash__(self) -> int:
        """Equal cells have one name."""
        return hash(self.name)

    def __eq__(self, other: object) -> bool:
        """Cells of one name are one cell, wherever their data lie."""
        return isinstance(other, Cell) and self.name == other.name

    @property
    def name(self) -> str:
        """The kind and a hash of what it is given; good as a file name."""
        settings = {k: v for k, v in self.settings.items() if k not in _NOT_IN_THE_NAME}
        text = json.dumps([self.runner, self.alone, settings], sort_keys=True)
        return f"{self.kind}-{hashlib.sha256(text.encode()).hexdigest()[:_HASH_DIGITS]}"

    @property
    def kind(self) -> str:
        """The runner's last part, module and function: "training.run"."""
        return self.runner.rpartition(".")[2].replace(":", ".")

    def run(self) -> list[Row]:
        """Imports the runner and runs it here, in this process."""
        return self.function()(dict(self.settings))

    def function(self) -> Callable[[dict[str, Scalar]], list[Row]]:
        """The runner itself."""
        module, _, function = self.runner.partition(":")
        return getattr(importlib.import_module(module), function)
