"""All that a training is made of: data, network, adaptation and outer loop."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from anil_tf.config.adaptation import AUTO, Adaptation
from anil_tf.config.data import Data
from anil_tf.config.heads import HEADS
from anil_tf.config.network import Network
from anil_tf.config.outer_loop import OuterLoop


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training(Data, Network, Adaptation, OuterLoop):
    """All that a training is made of but its directory; train, tune, evaluate, export and the study have it."""

    def contradictions(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Options of different parts that do not go together."""
        head = HEADS[self.head_initialization]
        if self.training_ways not in (None, self.ways) and not head.any_number_of_ways:
            yield (
                ("training_ways", "head_initialization"),
                "a free head has one row per class; expected the number of ways, or another head.",
            )
        for name in self.measured_options:
            why = self._why_not_measured()
            if why:
                yield (name,), f"{why}; expected a number, or no --{name}."

    @property
    def measured_options(self) -> list[str]:
        """The options that are "auto", to be measured when training begins."""
        return [name for name in ("inner_step_size", "inner_steps") if getattr(self, name) == AUTO]

    def _why_not_measured(self) -> str:
        if not HEADS[self.head_initialization].has_inner_loop:
            return f"--head={self.head_initialization} adapts in closed form and has no inner steps"
        if self.differentiation == "implicit":
            return "--differentiation=implicit goes to the minimum, whatever the steps"
        if self.strategy == "multi_worker":
            return "with --strategy=multi_worker each machine would measure for itself"
        return ""
