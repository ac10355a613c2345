"""A cell: one unit of work of the study, such as one training run with one seed.

A cell is the name of a runner, and settings; its rows depend on nothing else. So a cell that was run once, by whatever
experiment, need not be run again: its own name, a hash of both, says what it is. `RUNNERS` alone knows where a runner
is, so that code may move and finished cells stay finished.
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

RUNNERS: dict[str, str] = {
    "advised.run": "anil_tf.study.measurements.advised:run",
    "contraction.run": "anil_tf.study.measurements.contraction:run",
    "exactness.run": "anil_tf.study.measurements.exactness:run",
    "gradient_variance.run": "anil_tf.study.measurements.gradient_variance:run",
    "meta_smoothness.nonconvex": "anil_tf.study.measurements.meta_smoothness:nonconvex",
    "meta_smoothness.strongly_convex": "anil_tf.study.measurements.meta_smoothness:strongly_convex",
    "meta_smoothness.worst_case": "anil_tf.study.measurements.meta_smoothness:worst_case",
    "meta_step_cost.run": "anil_tf.study.measurements.meta_step_cost:run",
    "meta_steps.run": "anil_tf.study.measurements.meta_steps:run",
    "sampling.run": "anil_tf.study.measurements.sampling:run",
    "timing.run": "anil_tf.study.timing:run",
    "training.run": "anil_tf.study.training:run",
}

# Where data lie does not change what they are.
_NOT_IN_THE_NAME = frozenset({"data_dir"})
_HASH_DIGITS = 12


@dataclasses.dataclass(frozen=True)
class Cell:
    """One unit of work.

    Attributes:
        runner: a name in `RUNNERS`, or "package.module:function"; the function takes the settings, a dict, and returns
            rows, a list of dicts of JSON scalars (nan and infinities become missing values).
        settings: everything that the rows depend on, the seed included.
        alone: whether nothing may run beside it, and it gets all cores: for what measures time.

    Raises:
        ValueError: if the runner is neither, or a setting is no scalar.

    Example:
        >>> Cell("training.run", {"seed": 0}).kind
        'training.run'
    """

    runner: str
    settings: Settings
    alone: bool = False

    def __post_init__(self):
        """Refuses what cannot be run or written down, and takes a copy of the settings."""
        module, _, function = self._place.partition(":")
        if not (module and function):
            raise ValueError(
                f"runner must be one of {', '.join(RUNNERS)}, or 'package.module:function'. Received: {self.runner!r}."
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
        """The runner's name; of one that is not in `RUNNERS` its module's last part and its function."""
        return (
            self.runner.rpartition(".")[2].replace(":", ".") if ":" in self.runner else self.runner
        )

    def run(self) -> list[Row]:
        """Imports the runner and runs it here, in this process."""
        return self.function()(dict(self.settings))

    def function(self) -> Callable[[dict[str, Scalar]], list[Row]]:
        """The runner itself."""
        module, _, function = self._place.partition(":")
        return getattr(importlib.import_module(module), function)

    @property
    def _place(self) -> str:
        return RUNNERS.get(self.runner, self.runner)
