"""Runs a SavedModel export by TensorFlow."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf


class SavedModelRuntime:
    """The functions of a SavedModel, on arrays; see `anil_tf.deploy.exported.Runtime`."""

    def __init__(self, path: pathlib.Path):
        """Loads the folder of a SavedModel."""
        self._model = tf.saved_model.load(str(path))

    def adapt(self, images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
        """See `Runtime`."""
        state = self._model.adapt(tf.constant(images), tf.constant(labels))
        return {name: tensor.numpy() for name, tensor in state.items()}

    def predict(self, images: np.ndarray, state: Mapping[str, np.ndarray]) -> np.ndarray:
        """See `Runtime`."""
        tensors = {name: tf.constant(value) for name, value in state.items()}
        return _only(self._model.predict(tf.constant(images), tensors))

    def adapt_and_predict(
        self, images: np.ndarray, labels: np.ndarray, queries: np.ndarray
    ) -> np.ndarray:
        """See `Runtime`."""
        support = tf.constant(images), tf.constant(labels)
        return _only(self._model.adapt_and_predict(*support, tf.constant(queries)))

    def embed(self, images: np.ndarray) -> np.ndarray:
        """See `Runtime`."""
        return _only(self._model.embed(tf.constant(images)))


def load(export_dir: pathlib.Path, info: Mapping[str, Any], variant: str) -> SavedModelRuntime:
    """Loads one variant of an export; see `anil_tf.deploy.exported.load`."""
    return SavedModelRuntime(export_dir / info["variants"][variant])


def _only(outputs: Mapping[str, tf.Tensor]) -> np.ndarray:
    (tensor,) = outputs.values()
    return tensor.numpy()
