"""The experiments: one file each, found by listing this folder."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anil_tf.study.experiment import Experiment


def names() -> list[str]:
    """The names of all experiments, by the alphabet; imports none of them."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str) -> Experiment:
    """The experiment of a name.

    Raises:
        ModuleNotFoundError: if there is none.
    """
    return importlib.import_module(f"{__name__}.{name}").EXPERIMENT


def load_all() -> list[Experiment]:
    """All experiments, in the order in which the story is told."""
    return sorted((load(name) for name in names()), key=lambda experiment: experiment.order)
