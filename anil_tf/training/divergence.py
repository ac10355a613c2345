"""Stops a run whose loss or weights are no longer finite, before they reach a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import keras
import tensorflow as tf


class Diverged(RuntimeError):
    """The loss or a weight became NaN or infinite."""


def check(
    values: dict[str, float],
    *,
    meta_step: int,
    inner_step_size: float | None = None,
    last_checkpoint: str | None = None,
) -> None:
    """Raises unless all values are finite.

    Args:
      values: names and values, such as {"loss": 1.2}.
      meta_step: how many meta-steps are done, for the message.
      inner_step_size: the likely cause, named in the message.
      last_checkpoint: where the last good state is.

    Raises:
      Diverged: with one line that says where, why, and what is left.
    """
    for name, value in values.items():
        if not math.isfinite(value):
            cause = "the inner step size is too large"
            if inner_step_size is not None:
                cause += f" (received --inner_step_size={inner_step_size:g})"
            kept = f"; the last good checkpoint is {last_checkpoint}" if last_checkpoint else ""
            raise Diverged(
                f"the {name} is {value} at meta-step {meta_step}. Most likely {cause}, or an outer "
                f"step size is: start again with a smaller one{kept}."
            )


def first_spoiled(variables: Iterable[keras.Variable]) -> tuple[str, float] | None:
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
    """Checks the loss after every meta-step and every validation.

    Args:
      meta_step: returns the number of meta-steps done.
      last_checkpoint: returns where the last good state is.
      inner_step_size: named in the message.
    """

    def __init__(
        self,
        meta_step: Callable[[], int],
        last_checkpoint: Callable[[], str | None],
        inner_step_size: float | None,
    ):
        super().__init__()
        self._meta_step = meta_step
        self._last_checkpoint = last_checkpoint
        self._inner_step_size = inner_step_size

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Checks the loss of the meta-step."""
        self._check({"loss": float((logs or {}).get("loss", 0.0))}, self._meta_step() + 1)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Checks the validation loss and the weights, which the last update may have spoiled."""
        self._check(
            {"validation loss": float((logs or {}).get("val_loss", 0.0))}, self._meta_step()
        )
        self.check_weights()

    def check_weights(self) -> None:
        """Raises `Diverged` unless every trainable weight is finite."""
        spoiled = first_spoiled(self.model.trainable_variables)
        if spoiled:
            path, value = spoiled
            self._check({f"weight {path}": value}, self._meta_step())

    def _check(self, values: dict[str, float], meta_step: int) -> None:
        check(
            values,
            meta_step=meta_step,
            inner_step_size=self._inner_step_size,
            last_checkpoint=self._last_checkpoint(),
        )
