"""Runs a SavedModel export by TensorFlow."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from anil_tf.deploy.runtimes import Runtime


class SavedModelRuntime(Runtime):
    """The functions of a SavedModel."""

    def __init__(self, path: pathlib.Path):
        """Loads the folder of a SavedModel."""
        self._model = tf.saved_model.load(str(path))

    def run(self, signature: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """See `Runtime`."""
        tensors = {name: tf.constant(value) for name, value in inputs.items()}
        outputs = self._model.signatures[signature](**tensors)
        return {name: tensor.numpy() for name, tensor in outputs.items()}


def load(export_dir: pathlib.Path, info: Mapping[str, Any], variant: str) -> SavedModelRuntime:
    """Loads one variant of an export; see `anil_tf.deploy.exported.load`."""
    return SavedModelRuntime(export_dir / info["variants"][variant])
