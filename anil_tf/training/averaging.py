"""A moving average of the weights of one run, for validation and for the model that is kept.

Polyak and Juditsky (1992): the average of the iterates is often better than the last one. Keras'
own `use_ema` puts the average into the weights at the end of every `fit`, which a run that is
stopped and resumed calls more than once; so the averages are kept beside the weights here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf


class WeightAverage(keras.callbacks.Callback):
    """Averages all weights after every meta-step, and validates with the averages.

    Moving statistics of batch normalisation are averaged like the weights they belong to. Early
    on, momentum is (1 + n) / (10 + n) at meta-step n, so that the first weights are soon forgotten
    (the ramp of tf.train.ExponentialMovingAverage).

    Args:
      model: a built model.
      momentum: how much of the average stays at each meta-step, below 1.
    """

    def __init__(self, model: keras.Model, momentum: float):
        super().__init__()
        self.momentum = momentum
        self._weights = [w for w in model.weights if w.value.dtype.is_floating]
        self.variables = [
            tf.Variable(w.value, trainable=False, aggregation=tf.VariableAggregation.MEAN)
            for w in self._weights
        ]
        self.steps = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._update = tf.function(self._update_averages)

    def substituted(self, variables: list[keras.Variable]) -> list[tf.Variable]:
        """These variables of the model, with the averages in the place of the averaged ones."""
        averages = {id(w): a for w, a in zip(self._weights, self.variables, strict=True)}
        return [averages.get(id(variable), variable.value) for variable in variables]

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Moves the averages towards the new weights."""
        self._update()

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Puts the averages into the model."""
        self._put_in()

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """Puts the weights back."""
        self._put_back()

    @contextlib.contextmanager
    def in_the_model(self) -> Iterator[None]:
        """Has the averages in the model inside, the weights again afterwards."""
        self._put_in()
        try:
            yield
        finally:
            self._put_back()

    def _put_in(self) -> None:
        self._kept = [tf.identity(w.value) for w in self._weights]
        for weight, average in zip(self._weights, self.variables, strict=True):
            weight.assign(average)

    def _put_back(self) -> None:
        for weight, kept in zip(self._weights, self._kept, strict=True):
            weight.assign(kept)
        del self._kept

    def _update_averages(self) -> None:
        done = tf.cast(self.steps.assign_add(1), tf.float32)
        momentum = tf.minimum(self.momentum, (1.0 + done) / (10.0 + done))
        for weight, average in zip(self._weights, self.variables, strict=True):
            share = tf.cast(1.0 - momentum, average.dtype)
            average.assign_add(share * (weight.value - average))
