"""What the inner loop, the learner and the exports need of a head."""

import abc
from collections.abc import Callable

import keras
import tensorflow as tf

from anil_tf.models import normalization

# Makes a learned scalar: (name, initial value) -> variable.
MakeScalar = Callable[[str, float], keras.Variable]
# Outputs [rows, ...] and the statistics of batch normalisation that were used.
Result = tuple[tf.Tensor, normalization.Statistics]
# X of A X = R, for A [n, n] symmetric and positive definite, R [n, C].
Solver = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


class Head(abc.ABC):
    """A head as adaptation sees it: tensors that start somewhere, and a function of them.

    Attributes:
        model: the head as `split` returns it: features [rows, ...] -> logits [rows, ways].
        learned_model: the part of it whose variables are learned; None if there is none.
        rows: the only number of classes it takes; None for any number.
        starts_alike: whether all tasks start from the same tensors.
    """

    model: keras.Model
    learned_model: keras.Model | None
    rows: int | None = None
    starts_alike = False

    def __init__(self, model: keras.Model, make_scalar: MakeScalar, *, l2: float = 0.0):
        """Takes a head.

        Args:
            model: the head as `split` returns it.
            make_scalar: makes what the head learns beside the model.
            l2: weight of the squared norm in the inner loss.

        Raises:
            ValueError: for a model that this head cannot be made of.
        """
        self.model = model

    @property
    @abc.abstractmethod
    def adapted_names(self) -> list[str]:
        """Names of the tensors of the head, in order."""

    @property
    @abc.abstractmethod
    def last_layer_tensors(self) -> int:
        """How many of them, at the end, belong to the last layer."""

    @property
    @abc.abstractmethod
    def step_size_shapes(self) -> list[tuple[int, ...]]:
        """Shapes of one learned step size per entry of each adapted tensor, classes being treated alike."""

    @abc.abstractmethod
    def start(
        self,
        features: tf.Tensor,
        labels: tf.Tensor,
        ways: int | tf.Tensor,
        statistics: normalization.Source,
    ) -> list[tf.Tensor]:
        """Returns the adapted tensors of one task before the first inner step.

        Args:
            features: of the support, [n_s, ...].
            labels: of the support, int [n_s] (regression: targets [n_s, dimensions]).
            ways: number of classes (regression: dimensions).
            statistics: where batch normalisation takes mean and variance from.
        """

    @abc.abstractmethod
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

    def with_solver(self, solver: Solver) -> "Head":
        """Returns the head that solves linear systems by `solver`, for runtimes without factorisations."""
        return self
