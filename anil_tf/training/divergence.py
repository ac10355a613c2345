"""Stops a run whose loss or weights are no longer finite, before they reach a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf

from anil_tf.training.checkpoints import Checkpoints


class Diverged(RuntimeError):
    """The loss or a weight became NaN or infinite."""


def first_not_finite(variables: Iterable[keras.Variable]) -> tuple[str, float] | None:
    """The first variable with an entry that is NaN or infinite.

    Args:
      variables: variables of a floating type, of any shapes.

    Returns:
      Its path and the first such entry; None if all entries are finite.
    """
    for variable in variables:
        entries = tf.reshape(variable.value, [-1])
        finite = tf.math.is_finite(entries)
        if not tf.reduce_all(finite):
            return variable.path, float(tf.boolean_mask(entries, ~finite)[0])
    return None


class DivergenceGuard(keras.callbacks.Callback):
    """Raises `Diverged` when the loss of a meta-step or of a validation, or a weight, is not finite.

    Args:
      checkpoints: of the run; they say where it stands and where the last good state is.
      inner_step_size: the likely cause, named in the message.
    """

    def __init__(self, checkpoints: Checkpoints, inner_step_size: float | None = None):
        super().__init__()
        self._checkpoints = checkpoints
        self._inner_step_size = inner_step_size

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Checks the loss of the meta-step."""
        self._check("loss", float((logs or {})["loss"]), self._checkpoints.meta_step + 1)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Checks the validation loss and the weights, which the last update may have spoiled."""
        value = float((logs or {})["val_loss"])
        self._check("validation loss", value, self._checkpoints.meta_step)
        self.check_weights()

    def check_weights(self) -> None:
        """Raises `Diverged` unless every trainable weight is finite."""
        found = first_not_finite(self.model.trainable_variables)
        if found:
            self._check(f"weight {found[0]}", found[1], self._checkpoints.meta_step)

    def _check(self, name: str, value: float, meta_step: int) -> None:
        if math.isfinite(value):
            return
        cause = "the inner step size is too large"
        if self._inner_step_size is not None:
            cause += f" (received --inner_step_size={self._inner_step_size:g})"
        latest = self._checkpoints.latest
        kept = f"; the last good checkpoint is {latest}" if latest else ""
        raise Diverged(
            f"the {name} is {value} at meta-step {meta_step}. Most likely {cause}, or an outer "
            f"step size is: start again with a smaller one{kept}."
        )
