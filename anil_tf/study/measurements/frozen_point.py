"""A frozen point: a network at its initial weights and one batch of real tasks.

Bounds speak of one point (w, phi) at a time; training would only move it. All is in float64, so that what a bound
forbids is told from rounding.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import tensorflow as tf

import anil_tf
from anil_tf import models
from anil_tf.adaptation.linear_problem import LinearProblem
from anil_tf.adaptation.losses import LOSSES, inner_loss
from anil_tf.adaptation.problem import InnerProblem, TapedProblem, Tensors
from anil_tf.models.normalization import Batch
from anil_tf.models.pure_call import pure_call
from anil_tf.models.structure import is_linear
from anil_tf.study.learners import make_network, make_tasks

HIDDEN_UNITS = 16
HEADS = ("linear", "two_layer", "all")


@dataclasses.dataclass(frozen=True)
class FrozenPoint:
    """A body, a head, and B tasks.

    Attributes:
        body: phi, images -> features [rows, d].
        head: w, features -> logits.
        inputs: of a `MetaLearner`; see there.
        query_labels: int32 [B, n_q].
        l2: lambda of the inner loss.
    """

    body: keras.Model
    head: keras.Model
    inputs: dict[str, tf.Tensor]
    query_labels: tf.Tensor
    l2: float

    @property
    def tasks(self) -> int:
        """B."""
        return int(self.query_labels.shape[0])

    @property
    def start(self) -> Tensors:
        """w_0 of every task, tensors [B, ...]: the same for all."""
        tensors = [tf.convert_to_tensor(v) for v in self.head.trainable_variables]
        return [tf.broadcast_to(t, [self.tasks, *t.shape]) for t in tensors]

    def first(self, tasks: int) -> FrozenPoint:
        """The same point with the first of the tasks alone."""
        inputs = {name: value[:tasks] for name, value in self.inputs.items()}
        return dataclasses.replace(self, inputs=inputs, query_labels=self.query_labels[:tasks])

    def features(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Features of support [B, n_s, d] and queries [B, n_q, d]; batch statistics, if any, are the task's."""
        support, queries = self.inputs["support_images"], self.inputs["query_images"]
        images = tf.cast(tf.concat([support, queries], axis=1), self.body.variable_dtype)
        embedded = tf.stack(
            [pure_call(self.body, None, task, statistics=Batch())[0] for task in images]
        )
        return embedded[:, : support.shape[1]], embedded[:, support.shape[1] :]

    def problem(self, *, support: bool = True, l2: float | None = None) -> InnerProblem:
        """The loss of the head given features: of the support with its l2, or of the queries without.

        A linear head has its closed form; a deeper one goes by tapes. Both share the features, s = [features].
        """
        labels = self.inputs["support_labels"] if support else self.query_labels
        weight = (self.l2 if support else 0.0) if l2 is None else l2
        if is_linear(self.head):
            ways = self.head.output_shape[-1]
            dtype = self.head.variable_dtype
            return LinearProblem.of_labels(
                labels, ways, dtype=dtype, loss="cross_entropy", l2=weight
            )

        def loss(adapted: Tensors, shared: Tensors, labels: Any, step: int) -> tf.Tensor:
            outputs = self.logits(adapted, shared[0])
            return inner_loss(outputs, labels, adapted, loss="cross_entropy", l2=weight)

        return TapedProblem(loss, labels, mode="vectorized")

    def query_loss(self, adapted: Tensors, query_features: tf.Tensor) -> tf.Tensor:
        """L_D of each task, [B], at its own head, tensors [B, ...]."""
        losses = []
        for i, (rows, labels) in enumerate(
            zip(tf.unstack(query_features), tf.unstack(self.query_labels), strict=True)
        ):
            outputs = self.logits([tensor[i] for tensor in adapted], rows)
            losses.append(LOSSES["cross_entropy"](outputs, labels))
        return tf.stack(losses)

    def logits(self, adapted: Tensors, features: tf.Tensor) -> tf.Tensor:
        """Outputs [rows, ways] of one task's head."""
        return pure_call(self.head, adapted, features, statistics=Batch())[0]

    def learner(self, **options: Any) -> anil_tf.MetaLearner:
        """A learner on these parts; `options` as `MetaLearner` takes them."""
        defaults = {"inner_l2": self.l2, "dtype": self.head.variable_dtype}
        return anil_tf.MetaLearner(self.body, self.head, **(defaults | options))


def frozen_point(settings: Mapping[str, Any], *, dtype: str = "float64") -> FrozenPoint:
    """Makes the network and draws the tasks.

    Args:
        settings: dataset, data_dir, ways, shots, queries, meta_batch_size (B), body, filters, head ("linear";
            "two_layer": tanh units under the linear layer; "all": the whole network, as in MAML), inner_l2, seed.
        dtype: what everything computes in.

    Returns:
        The point; the same for the same settings.

    Raises:
        ValueError: for an unknown body or head.
    """
    tasks = make_tasks(settings, "train")
    inputs, query_labels = tasks.batch(0)
    keras.utils.set_random_seed(settings["seed"])
    if settings["head"] not in HEADS:
        raise ValueError(f"head must be one of {', '.join(HEADS)}. Received: {settings['head']!r}.")
    with _precision(dtype):
        network = make_network(settings, tasks)
        body, head = models.split(network, "all" if settings["head"] == "all" else 1)
        if settings["head"] == "two_layer":
            head = two_layers(int(body.output_shape[-1]), settings["ways"])
    return FrozenPoint(body, head, inputs, query_labels, float(settings["inner_l2"]))


def two_layers(width: int, ways: int) -> keras.Model:
    """A smooth nonconvex head: tanh units, then a linear layer."""
    # Keras casts what a model is given to the type of its Input, which is float32 whatever the policy.
    inputs = keras.Input([width], dtype=keras.config.dtype_policy().variable_dtype)
    hidden = keras.layers.Dense(HIDDEN_UNITS, activation="tanh")(inputs)
    return keras.Model(inputs, keras.layers.Dense(ways)(hidden), name="two_layers")


def doubling(most: int) -> list[int]:
    """1, 2, 4, ... up to `most`, which is always among them."""
    steps = [2**k for k in range(most.bit_length()) if 2**k < most]
    return [*steps, most]


@contextlib.contextmanager
def _precision(dtype: str) -> Iterator[None]:
    """Makes new layers compute in this precision."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
