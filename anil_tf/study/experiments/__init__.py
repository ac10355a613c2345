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
# Asked for by name: they judge this library, not the paper.
OWN = ("advice",)


class _Experiments(Mapping[str, Experiment]):
    """Name to `Experiment`: the `EXPERIMENT` of the module of that name."""

    def __getitem__(self, name: str) -> Experiment:
        if name not in (*NAMES, *OWN):
            raise KeyError(name)
        return importlib.import_module(f"{__name__}.{name}").EXPERIMENT

    def __iter__(self) -> Iterator[str]:
        return iter((*NAMES, *OWN))

    def __len__(self) -> int:
        return len(NAMES) + len(OWN)


EXPERIMENTS: Mapping[str, Experiment] = _Experiments()
