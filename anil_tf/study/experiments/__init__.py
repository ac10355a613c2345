"""The experiments: one file each; `anil_tf.config.study` lists this folder."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from anil_tf.config.study import EXPERIMENTS

if TYPE_CHECKING:
    from anil_tf.study.experiment import Experiment


def load(name: str) -> Experiment:
    """The experiment of a name.

    Raises:
        ModuleNotFoundError: if there is none.
    """
    return importlib.import_module(f"{__name__}.{name}").EXPERIMENT


def load_all() -> list[Experiment]:
    """All experiments, in the order in which the story is told."""
    return sorted((load(name) for name in EXPERIMENTS), key=lambda experiment: experiment.order)
