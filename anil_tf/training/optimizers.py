"""The outer optimizer: one step size for the body, another for the head, one joint clipping.

Two step sizes are two optimizers. Scaling the head's gradient instead would do nothing under
Adam, whose step does not depend on the scale of a gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from anil_tf.config.outer_loop import OuterLoop


@keras.saving.register_keras_serializable(package="anil_tf")
class OuterOptimizer(keras.optimizers.MultiOptimizer):
    """Two optimizers, one for the body and one for the head, that clip by their joint norm.

    Which variables are the head's is said by position. Keras' `OptimizerMap` would go by path, and
    paths change when a model is saved and loaded: the head would silently become the body's.

    Keras' `global_clipnorm` would act on each part alone, and before the sum over replicas; here
    the norm is that of the whole summed gradient.

    Weight decay, where the parts have one, leaves out every variable of rank below two (biases,
    normalisation scales, step sizes, the prototype scale) and whatever is named a step size.

    Args:
      body: the body's optimizer.
      head: the head's optimizer.
      head_positions: the head's places among the trainable variables.
      clip_norm: largest joint norm of the gradient; None or 0 is no clipping.
      loss_scale_factor: as in Keras.
      name: as in Keras.
    """

    def __init__(
        self,
        body: keras.optimizers.Optimizer,
        head: keras.optimizers.Optimizer,
        head_positions: Sequence[int],
        clip_norm: float | None = None,
        loss_scale_factor: float | None = None,
        name: str | None = "outer",
    ):
        super().__init__(self._part_of, loss_scale_factor=loss_scale_factor, name=name)
        self.head_positions = tuple(head_positions)
        self.clip_norm = clip_norm
        self._head_keys: frozenset = frozenset()
        self._body, self._head = body, head
        self._inner_optimizers = [body, head]
        self.loss_scale_factor = loss_scale_factor

    def build(self, var_list: Sequence[keras.Variable]) -> None:
        """Creates the state for these variables, all trainable ones in their order."""
        if self.built:
            return
        self._head_keys = frozenset(self._var_key(var_list[i]) for i in self.head_positions)
        undecayed = [v for v in var_list if len(v.shape) < 2 or "step_size" in v.path]
        for optimizer in self.optimizers:
            optimizer.exclude_from_weight_decay(var_list=undecayed)
        super().build(var_list)

    def _part_of(self, variable: keras.Variable) -> keras.optimizers.Optimizer:
        return self._head if self._var_key(variable) in self._head_keys else self._body

    def apply(self, grads: Sequence[Any], trainable_variables: Any = None) -> None:
        """Clips the gradients jointly, then steps each part."""
        super().apply(self._clipped(list(grads)), trainable_variables)

    def step_sizes(self) -> dict[str, float]:
        """The step size of each part at this meta-step, by name."""
        return {
            optimizer.name: float(keras.ops.convert_to_numpy(optimizer.learning_rate))
            for optimizer in self.optimizers
        }

    def get_config(self) -> dict[str, Any]:
        """The configuration that `from_config` takes."""
        return {
            "body": keras.saving.serialize_keras_object(self._body),
            "head": keras.saving.serialize_keras_object(self._head),
            "head_positions": list(self.head_positions),
            "clip_norm": self.clip_norm,
            "loss_scale_factor": self.loss_scale_factor,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> OuterOptimizer:
        """The optimizer that `get_config` describes."""
        parts = {
            part: keras.saving.deserialize_keras_object(config[part], custom_objects)
            for part in ("body", "head")
        }
        return cls(**(config | parts))

    def _clipped(self, grads: list[Any]) -> list[Any]:
        if not self.clip_norm:
            return grads
        present = [grad for grad in grads if grad is not None]
        replica = tf.distribute.get_replica_context()
        summed = present
        if replica is not None and replica.num_replicas_in_sync > 1:
            summed = replica.all_reduce(tf.distribute.ReduceOp.SUM, present)
        norm = tf.linalg.global_norm(summed)
        # A norm that is not finite keeps its NaN, so that the run stops instead of hiding it.
        scale = self.clip_norm / tf.maximum(norm, self.clip_norm)
        return [None if grad is None else grad * tf.cast(scale, grad.dtype) for grad in grads]


def build(learner: keras.Model, outer_loop: OuterLoop) -> OuterOptimizer:
    """Builds the outer optimizer of a learner.

    Args:
      learner: a model with `body_variables` and `head_variables` (no variable in both).
      outer_loop: optimizer, step sizes, their schedule over the meta-steps of the run, clipping and
        weight decay.

    Returns:
      An optimizer with the parts named "body" and "head". Where one has no variables (a zero head
      that is one layer, a frozen body), it does nothing.

    Raises:
      ValueError: for a warm-up as long as the run.

    Example:
      optimizer = optimizers.build(learner, OuterLoop(outer_step_size_head=1e-2))
      learner.compile(optimizer=optimizer, loss=...)
    """
    maker = {"adam": keras.optimizers.Adam, "sgd": keras.optimizers.SGD}[outer_loop.optimizer]

    def make(name: str, step_size: float) -> keras.optimizers.Optimizer:
        rate = _schedule(outer_loop, step_size)
        return maker(learning_rate=rate, weight_decay=outer_loop.weight_decay or None, name=name)

    head = {id(variable) for variable in learner.head_variables}
    variables = learner.trainable_variables
    return OuterOptimizer(
        make("body", outer_loop.outer_step_size_body),
        make("head", outer_loop.outer_step_size_head),
        [i for i, variable in enumerate(variables) if id(variable) in head],
        clip_norm=outer_loop.clip_norm or None,
    )


def _schedule(outer_loop: OuterLoop, step_size: float) -> Any:
    """A step size, or the Keras schedule that warms up to it and then stays or falls to zero."""
    total_steps, warmup_steps = outer_loop.meta_steps, outer_loop.warmup_steps
    if warmup_steps >= total_steps and warmup_steps > 0:
        raise ValueError(
            f"expected fewer warm-up steps than the run's {total_steps}, received {warmup_steps}."
        )
    is_constant = outer_loop.schedule == "constant"
    if is_constant and not warmup_steps:
        return step_size
    # alpha is what remains at the end: all of it makes a constant schedule with warm-up.
    alpha = 1.0 if is_constant else 0.0
    decay_steps = total_steps - warmup_steps
    if not warmup_steps:
        return keras.optimizers.schedules.CosineDecay(step_size, decay_steps, alpha=alpha)
    return keras.optimizers.schedules.CosineDecay(
        step_size / (warmup_steps + 1),  # not zero, so that no meta-step is spent on nothing
        decay_steps,
        alpha=alpha,
        warmup_target=step_size,
        warmup_steps=warmup_steps,
    )
