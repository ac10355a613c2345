"""anil_tf: meta-learning with ANIL for Keras. Adapt the head, share the body."""

import importlib
from typing import Any

__version__ = "0.1.0"

_MODULES = ("episodes", "evaluation", "flags", "models", "training")


def __getattr__(name: str) -> Any:
    """Imports a room when it is first used: TensorFlow takes seconds, and flags do without it."""
    if name == "MetaLearner":
        return importlib.import_module("anil_tf.meta_learner").MetaLearner
    if name in _MODULES:
        return importlib.import_module(f"anil_tf.{name}")
    raise AttributeError(f"module 'anil_tf' has no attribute {name!r}")
