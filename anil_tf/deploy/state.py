"""The state of an adapted task under names: what `adapt` of an export returns and `predict` takes.

`MetaLearner.task_state` returns lists and dictionaries; a signature has a flat set of named tensors:

* the head: `kernel` and `bias` of one linear layer; of a deeper head `LAYER_kernel` and so on, in the head's order;
* the statistics of batch normalisation that the support images gave, where predictions use those:
  `body_mean_0`, `body_variance_0`, `body_mean_1`, ... by layer, and `head_mean_0`, ... likewise.
"""

import dataclasses
import re

import keras
import tensorflow as tf

from anil_tf.deploy.formats import StateTensor
from anil_tf.learner.adapted_classifier import TaskState
from anil_tf.meta_learner import MetaLearner
from anil_tf.models.normalization import Statistics, batch_normalizations
from anil_tf.models.structure import is_linear

_MOMENTS = ("mean", "variance")


@dataclasses.dataclass(frozen=True)
class StateLayout:
    """The tensors of a learner's state, in order.

    Attributes:
        head: the adapted tensors.
        body_statistics: mean and variance of each layer of the body, in turn.
        head_statistics: likewise of the head.
    """

    head: tuple[StateTensor, ...]
    body_statistics: tuple[StateTensor, ...]
    head_statistics: tuple[StateTensor, ...]

    @property
    def tensors(self) -> tuple[StateTensor, ...]:
        """All of them."""
        return self.head + self.body_statistics + self.head_statistics

    def specs(self) -> dict[str, tf.TensorSpec]:
        """What a `tf.function` has to know of them."""
        return {t.name: tf.TensorSpec(t.shape, t.dtype, name=t.name) for t in self.tensors}

    def pack(self, state: TaskState) -> dict[str, tf.Tensor]:
        """Gives the tensors of a state, as `MetaLearner.task_state` returns it, their names, shapes and types."""
        values = [
            *state.tensors,
            *_flat(state.body_statistics),
            *_flat(state.head_statistics),
        ]
        return {
            tensor.name: tf.ensure_shape(tf.cast(value, tensor.dtype), tensor.shape)
            for tensor, value in zip(self.tensors, values, strict=True)
        }

    def unpack(self, named: dict[str, tf.Tensor]) -> TaskState:
        """The state that `pack` was given, for `MetaLearner.answer`; KeyError for a tensor that is not there."""
        return TaskState(
            [named[tensor.name] for tensor in self.head],
            _statistics([named[tensor.name] for tensor in self.body_statistics]),
            _statistics([named[tensor.name] for tensor in self.head_statistics]),
        )


def state_layout(learner: MetaLearner, normalization: str) -> StateLayout:
    """What adaptation of this learner leaves behind; "support" keeps the statistics of the support images."""
    keeps = normalization == "support"
    return StateLayout(
        head=_head_tensors(learner),
        body_statistics=_moments("body", learner.body) if keeps else (),
        head_statistics=_moments("head", learner.learned_head) if keeps else (),
    )


def _head_tensors(learner: MetaLearner) -> tuple[StateTensor, ...]:
    head = learner.adapted_head
    shapes: list[tuple[int | None, ...]] = [tuple(shape) for shape in head.step_size_shapes]
    if head.rows is None:  # its last layer takes any number of ways
        shapes[-2:] = [(*shapes[-2][:-1], None), (None,)]
    dtype = learner.head.variable_dtype
    return tuple(
        StateTensor(name, shape, dtype) for name, shape in zip(_names(learner), shapes, strict=True)
    )


def _names(learner: MetaLearner) -> list[str]:
    """Names of the head's tensors that any signature takes, each of them once."""
    depth = 1 if is_linear(learner.head) else 2
    names: list[str] = []
    for path in learner.adapted_head.adapted_names:
        name = re.sub(r"\W", "_", "_".join(path.split("/")[-depth:]))
        names.append(name if name not in names else f"{name}_{len(names)}")
    return names


def _moments(part: str, model: keras.Model | None) -> tuple[StateTensor, ...]:
    layers = [] if model is None else batch_normalizations(model)
    return tuple(
        StateTensor(
            f"{part}_{moment}_{index}", tuple(layer.moving_mean.shape), layer.variable_dtype
        )
        for index, layer in enumerate(layers)
        for moment in _MOMENTS
    )


def _flat(statistics: Statistics) -> list[tf.Tensor]:
    return [moment for key in sorted(statistics, key=int) for moment in statistics[key]]


def _statistics(values: list[tf.Tensor]) -> Statistics:
    pairs = zip(values[::2], values[1::2], strict=True)
    return {str(index): pair for index, pair in enumerate(pairs)}
