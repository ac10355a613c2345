"""The experiments by name, in the order in which the story is told; each is imported when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping

from anil_tf.study.experiment import Experiment

NAMES = (
    "strongly_convex",
    "nonconvex",
    "same_step_size",
    "anil_vs_maml",
    "batch_size",
    "sample_size",
    "predictions",
    "complexity",
)


class _Experiments(Mapping[str, Experiment]):
    """Name to `Experiment`: the `EXPERIMENT` of the module of that name."""

    def __getitem__(self, name: str) -> Experiment:
        if name not in NAMES:
            raise KeyError(name)
        return importlib.import_module(f"{__name__}.{name}").EXPERIMENT

    def __iter__(self) -> Iterator[str]:
        return iter(NAMES)

    def __len__(self) -> int:
        return len(NAMES)


EXPERIMENTS: Mapping[str, Experiment] = _Experiments()
