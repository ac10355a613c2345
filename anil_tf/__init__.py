"""anil_tf: meta-learning with ANIL for Keras. Adapt the head, share the body."""

from __future__ import annotations

import importlib
import importlib.util
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anil_tf import episodes as episodes
    from anil_tf import models as models
    from anil_tf.meta_learner import MetaLearner as MetaLearner
    from anil_tf.saved_learner import load as load

__version__ = "0.1.0"

# TensorFlow reads it when it is imported. By itself it takes oneDNN only on CPUs with AVX-512 VNNI or AMX; on others
# that makes a meta-step 1.6 to 2.2 times as fast, too (benchmarks/NOTES.md). A user's own setting stays.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

# Imported when first used: command lines are checked, and exported models run, without TensorFlow.
_MODULES = ("episodes", "models")
_MEMBERS = {"MetaLearner": "anil_tf.meta_learner", "load": "anil_tf.saved_learner"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"anil_tf.{name}")
    if name in _MEMBERS:
        return getattr(importlib.import_module(_MEMBERS[name]), name)
    raise AttributeError(f"module 'anil_tf' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES, *_MEMBERS])


def _register_with_keras(keras: Any) -> None:
    """Makes `keras.saving.load_model` know `MetaLearner`: Keras finds only classes that are registered."""
    importlib.import_module("anil_tf.meta_learner")


if importlib.util.find_spec("wrapt") and importlib.util.find_spec("tensorflow"):
    import wrapt

    wrapt.register_post_import_hook(_register_with_keras, "keras")
