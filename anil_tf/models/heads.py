"""Heads: where a task's adaptation starts, and how the adapted head is applied.

* `FreeHead`: one learned row per class, as in the published results and in the convergence study.
* `SymmetricHead`: the last layer starts from the task itself, at zero, at the class means or wherever it is told;
  the path from the examples to there is part of the meta-gradient.
* `CosineHead`: no last layer at all; images are named after the class mean of the smallest angle.

The last two ignore the order of classes and take any number of ways. With a start at zero, layers below the last get no
gradient at the first inner step, because it reaches them through a weight that is still zero.
"""

from collections.abc import Callable
from typing import Protocol

import keras
import tensorflow as tf

from anil_tf.models import normalization
from anil_tf.models.pure_call import pure_call
from anil_tf.models.split import split
from anil_tf.models.structure import kernel_layers

# Where a last layer starts: inputs [n_s, width] of it, labels [n_s], ways -> kernel [width, ways] and bias [ways].
Start = Callable[[tf.Tensor, tf.Tensor, int | tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
# Outputs [rows, ...] and the statistics of batch normalisation that were used.
Result = tuple[tf.Tensor, normalization.Statistics]


class Head(Protocol):
    """What the inner loop needs of a head."""

    model: keras.Model
    learned_model: keras.Model | None
    has_inner_loop: bool  # whether gradient descent follows the start
    starts_alike: bool  # whether all tasks start from the same tensors

    @property
    def adapted_names(self) -> list[str]:
        """Names of the tensors of the head, in order."""

    @property
    def last_layer_tensors(self) -> int:
        """How many of them, at the end, belong to the last layer."""

    @property
    def step_size_shapes(self) -> list[tuple[int, ...]]:
        """Shapes of one learned step size per entry of each adapted tensor, classes being treated alike."""

    def start(
        self,
        features: tf.Tensor,
        labels: tf.Tensor,
        ways: int | tf.Tensor,
        statistics: normalization.Source,
    ) -> list[tf.Tensor]:
        """Returns the adapted tensors before the first inner step.

        Args:
            features: of the support, [n_s, ...].
            labels: of the support, int [n_s].
            ways: number of classes.
            statistics: where batch normalisation takes mean and variance from.
        """

    def __call__(
        self,
        tensors: list[tf.Tensor],
        features: tf.Tensor,
        statistics: normalization.Source,
        dropout_seed: tf.Tensor | None = None,
    ) -> Result:
        """Applies the head.

        Args:
            tensors: the adapted tensors, as `start` orders them.
            features: [rows, ...].
            statistics: where batch normalisation takes mean and variance from.
            dropout_seed: int [2]; dropout is on exactly when it is given.

        Returns:
            Logits [rows, ways] and the statistics of batch normalisation used.
        """


class FreeHead:
    """A Keras model whose trainable variables are learned, one row per class."""

    has_inner_loop = True
    starts_alike = True

    def __init__(self, model: keras.Model):
        """Takes the head as `split` returns it: features [rows, ...] -> logits [rows, ways]."""
        self.model = model
        self.learned_model = model

    @property
    def adapted_names(self) -> list[str]:
        """See `Head`."""
        return [variable.path for variable in self.model.trainable_variables]

    @property
    def last_layer_tensors(self) -> int:
        """See `Head`."""
        # The last kernel layer, and normalisation that may follow it.
        variables = self.model.trainable_variables
        first = kernel_layers(self.model)[-1].trainable_variables[0]
        return len(variables) - [id(variable) for variable in variables].index(id(first))

    @property
    def step_size_shapes(self) -> list[tuple[int, ...]]:
        """See `Head`."""
        return [tuple(variable.shape) for variable in self.model.trainable_variables]

    def start(
        self,
        features: tf.Tensor,
        labels: tf.Tensor,
        ways: int | tf.Tensor,
        statistics: normalization.Source,
    ) -> list[tf.Tensor]:
        """See `Head`; the task's examples play no part."""
        return [tf.convert_to_tensor(variable) for variable in self.model.trainable_variables]

    def __call__(
        self,
        tensors: list[tf.Tensor],
        features: tf.Tensor,
        statistics: normalization.Source,
        dropout_seed: tf.Tensor | None = None,
    ) -> Result:
        """See `Head`."""
        return pure_call(
            self.model, tensors, features, statistics=statistics, dropout_seed=dropout_seed
        )


class SymmetricHead:
    """A head whose last, linear layer starts from the task itself; layers below it are learned."""

    def __init__(
        self,
        model: keras.Model,
        make_start: Callable[[int], Start],
        *,
        has_inner_loop: bool = True,
    ):
        """Takes the head apart.

        Args:
            model: the head as `split` returns it; it ends in a Dense layer, whose own weights go unused.
            make_start: from the width of the last layer's input to where that layer starts.
            has_inner_loop: whether adaptation goes on from there.

        Raises:
            ValueError: when the model does not end in a linear Dense layer.
        """
        self.model = model
        self.learned_model, self.width = _take_apart(model)
        self._start = make_start(self.width)
        self.has_inner_loop = has_inner_loop
        self.starts_alike = False

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
        kernel, bias = self._start(hidden, labels, ways)
        return [*trunk, kernel, bias]

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
        return tf.matmul(hidden, kernel) + bias, used

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


class CosineHead(SymmetricHead):
    """NIL: class means in place of a last layer, compared by cosine (Raghu et al. 2019, arXiv:1909.09157).

    NIL stands for "no inner loop". Logits are 10 times the cosine: the factor orders nothing anew, and makes
    probabilities of them.
    """

    _SHARPNESS = 10.0

    def __init__(self, model: keras.Model):
        """Takes the head apart; see `SymmetricHead`."""
        super().__init__(model, lambda width: class_means, has_inner_loop=False)

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
        cosines = tf.matmul(tf.math.l2_normalize(hidden, -1), tf.math.l2_normalize(kernel, 0))
        return self._SHARPNESS * cosines + bias, used


def zero_start(
    hidden: tf.Tensor, labels: tf.Tensor, ways: int | tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns a linear layer of zeros, kernel [width, ways] and bias [ways]."""
    return tf.zeros([hidden.shape[-1], ways], hidden.dtype), tf.zeros([ways], hidden.dtype)


def class_means(
    hidden: tf.Tensor, labels: tf.Tensor, ways: int | tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the mean input of each class, [width, ways] (0 for one without examples), and a bias of 0, [ways]."""
    members = tf.one_hot(labels, ways, dtype=hidden.dtype)
    counts = tf.reduce_sum(members, axis=0)
    means = tf.math.divide_no_nan(tf.matmul(hidden, members, transpose_a=True), counts)
    return means, tf.zeros_like(counts)


def prototype_start(
    hidden: tf.Tensor, labels: tf.Tensor, ways: int | tf.Tensor, scale: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the linear layer that classifies by distance to the class means.

    With m_c the mean of class c (Snell et al. 2017, arXiv:1703.05175; Triantafillou et al. 2020, arXiv:1903.03096),
    -s/2 |h - m_c|^2 = s <h, m_c> - s/2 |m_c|^2 - s/2 |h|^2, and softmax cancels the last
    term, which all classes share.

    Args:
        hidden: inputs of the last layer, [rows, width].
        labels: classes, int [rows], in 0..ways-1.
        ways: number of classes.
        scale: s, a scalar.

    Returns:
        kernel [width, ways] and bias [ways].
    """
    means, _ = class_means(hidden, labels, ways)
    scale = tf.cast(scale, hidden.dtype)
    # keepdims: under vectorized_map the gradient of a sum without it has shapes that XLA finds only by the values of
    # the arguments, so that it would compile anew for every batch.
    squares = tf.reduce_sum(tf.square(means), axis=0, keepdims=True)[0]
    return scale * means, -0.5 * scale * squares


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
