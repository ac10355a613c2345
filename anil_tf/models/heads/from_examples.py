"""A head whose last, linear layer starts from the task's examples; layers below it are learned.

It takes any number of classes, in any order. The path from the examples to the start is part of the meta-gradient.
"""

import abc

import keras
import tensorflow as tf

from anil_tf.models import normalization
from anil_tf.models.heads.base import Head, MakeScalar, Result
from anil_tf.models.pure_call import pure_call
from anil_tf.models.split import split

# Kernel [width, ways] and bias [ways] of a linear layer.
Linear = tuple[tf.Tensor, tf.Tensor]


class HeadFromExamples(Head):
    """The last layer's own weights go unused; subclasses say where it starts.

    Attributes:
        width: of the input of the last layer.
    """

    def __init__(self, model: keras.Model, make_scalar: MakeScalar, *, l2: float = 0.0):
        """See `Head`; the model must end in a linear Dense layer."""
        super().__init__(model, make_scalar, l2=l2)
        self.learned_model, self.width = _take_apart(model)

    @abc.abstractmethod
    def last_layer(self, hidden: tf.Tensor, labels: tf.Tensor, ways: int | tf.Tensor) -> Linear:
        """Returns where the last layer starts.

        Args:
            hidden: its inputs for the support, [n_s, width].
            labels: int [n_s] (regression: targets [n_s, dimensions]).
            ways: number of classes (regression: dimensions).

        Returns:
            Its kernel [width, ways] and bias [ways].
        """

    @property
    def _trunk_variables(self) -> list[keras.Variable]:
        return self.learned_model.trainable_variables if self.learned_model else []

    @property
    def adapted_names(self) -> list[str]:
        """See `Head`."""
        last = [f"{self.model.layers[-1].name}/{name}" for name in ("kernel", "bias")]
        return [variable.path for variable in self._trunk_variables] + last

    @property
    def last_layer_tensors(self) -> int:
        """See `Head`."""
        return 2

    @property
    def step_size_shapes(self) -> list[tuple[int, ...]]:
        """See `Head`."""
        trunk = [tuple(variable.shape) for variable in self._trunk_variables]
        return [*trunk, (self.width, 1), (1,)]

    def start(
        self,
        features: tf.Tensor,
        labels: tf.Tensor,
        ways: int | tf.Tensor,
        statistics: normalization.Source,
    ) -> list[tf.Tensor]:
        """See `Head`."""
        trunk = [tf.convert_to_tensor(variable) for variable in self._trunk_variables]
        hidden, _ = self._below(trunk, features, statistics, None)
        return [*trunk, *self.last_layer(hidden, labels, ways)]

    def __call__(
        self,
        tensors: list[tf.Tensor],
        features: tf.Tensor,
        statistics: normalization.Source,
        dropout_seed: tf.Tensor | None = None,
    ) -> Result:
        """See `Head`."""
        *trunk, kernel, bias = tensors
        hidden, used = self._below(trunk, features, statistics, dropout_seed)
        return self.logits(hidden, kernel, bias), used

    def logits(self, hidden: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
        """Returns what the last layer makes of its inputs [rows, width]; [rows, ways]."""
        return tf.matmul(hidden, kernel) + bias

    def _below(
        self,
        tensors: list[tf.Tensor],
        features: tf.Tensor,
        statistics: normalization.Source,
        dropout_seed: tf.Tensor | None,
    ) -> Result:
        """Inputs [rows, width] of the last layer."""
        if self.learned_model is None:
            return features, {}
        hidden, used = pure_call(
            self.learned_model, tensors, features, statistics=statistics, dropout_seed=dropout_seed
        )
        return tf.cast(hidden, features.dtype), used


def class_means(hidden: tf.Tensor, labels: tf.Tensor, ways: int | tf.Tensor) -> Linear:
    """Returns the mean input of each class, [width, ways] (0 for one without examples), and a bias of 0, [ways]."""
    members = tf.one_hot(labels, ways, dtype=hidden.dtype)
    counts = tf.reduce_sum(members, axis=0)
    means = tf.math.divide_no_nan(tf.matmul(hidden, members, transpose_a=True), counts)
    return means, tf.zeros_like(counts)


def _take_apart(model: keras.Model) -> tuple[keras.Model | None, int]:
    """Returns the layers below the last one (None if there are none) and the width of its input."""
    trunk, last = split(model, 1)
    dense = [layer for layer in last.layers if not isinstance(layer, keras.layers.InputLayer)]
    linear = keras.activations.linear
    if (
        len(dense) != 1
        or not isinstance(dense[0], keras.layers.Dense)
        or dense[0].activation is not linear
    ):
        raise ValueError(
            "A head that is not free ends in a Dense layer without activation. Received one that ends in: "
            f"{', '.join(type(layer).__name__ for layer in dense)}. Use head_initialization='free'."
        )
    is_empty = not trunk.trainable_variables and len(trunk.layers) <= 2
    return (None if is_empty else trunk), int(last.input_shape[-1])
