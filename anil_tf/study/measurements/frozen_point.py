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

from anil_tf import MetaLearner, build
from anil_tf.adaptation import explicit
from anil_tf.adaptation.losses import LOSSES
from anil_tf.adaptation.problem import InnerProblem, Tensors
from anil_tf.learner.embedding import embed
from anil_tf.learner.inner_loop import PosedProblem
from anil_tf.models.normalization import Batch
from anil_tf.models.pure_call import pure_call
from anil_tf.study.settings import training_config

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

    def learner(self, **options: Any) -> MetaLearner:
        """A learner on these parts; `options` as `MetaLearner` takes them."""
        defaults = {"inner_l2": self.l2, "dtype": self.head.variable_dtype}
        return MetaLearner(self.body, self.head, **(defaults | options))

    def pose(self) -> PosedProblem:
        """The loss of the head on the support, given the features; in closed form for a linear head."""
        return self.learner().pose(self.inputs)

    def features(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Features of support [B, n_s, d] and queries [B, n_q, d]; batch statistics, if any, are the task's."""
        support, queries = self.inputs["support_images"], self.inputs["query_images"]
        images = tf.concat([support, queries], axis=1)
        dtype = self.head.variable_dtype
        embedded = tf.stack([embed(self.body, task, Batch(), dtype=dtype)[0] for task in images])
        return embedded[:, : support.shape[1]], embedded[:, support.shape[1] :]

    def adapted(
        self,
        problem: InnerProblem,
        start: Tensors,
        support: tf.Tensor,
        steps: int,
        step_size: float,
    ) -> Tensors:
        """w_N of every task, from `start` on its support features, differentiable by Proposition 1."""
        return explicit.gradient_descent(
            problem,
            start,
            [support],
            steps=steps,
            step_sizes=[step_size] * len(start),
            differentiated_steps=steps,
        )

    def query_loss(self, adapted: Tensors, query_features: tf.Tensor) -> tf.Tensor:
        """L_D of each task, [B], at its own head, tensors [B, ...]."""
        tasks = zip(tf.unstack(query_features), tf.unstack(self.query_labels), strict=True)
        losses = [
            LOSSES["cross_entropy"](self.logits([part[i] for part in adapted], rows), labels)
            for i, (rows, labels) in enumerate(tasks)
        ]
        return tf.stack(losses)

    def logits(self, adapted: Tensors, features: tf.Tensor) -> tf.Tensor:
        """Outputs [rows, ways] of one task's head."""
        return pure_call(self.head, adapted, features, statistics=Batch())[0]


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
    if settings["head"] not in HEADS:
        raise ValueError(f"head must be one of {', '.join(HEADS)}. Received: {settings['head']!r}.")
    layers = "all" if settings["head"] == "all" else 1
    config = training_config(settings, adapted_layers=layers)
    tasks = build.make_tasks(config, "train")
    inputs, query_labels = tasks.batch(0)
    build.seed(config)
    with _precision(dtype):
        body, head = build.make_network(config, tasks)
        if settings["head"] == "two_layer":
            head = two_layers(int(body.output_shape[-1]), config.ways)
    return FrozenPoint(body, head, inputs, query_labels, config.inner_l2)


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
