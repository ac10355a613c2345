"""Ridge regression on one-hot targets, in closed form: adaptation without an inner loop (R2D2, Bertinetto et al. 2019).

With a column of ones appended to the features H [n, d] for the bias, the minimum of

    mean_ic (H W - Y)^2 + (lambda/2) |W|^2

satisfies H^T (H W - Y) 2/(n C) + lambda W = 0, that is with r = lambda n C / 2

    W = (H^T H + r I_d)^{-1} H^T Y  =  H^T (H H^T + r I_n)^{-1} Y        (arXiv:1805.08136)

whose second form has a matrix of n rows, however wide the features. It is where gradient descent on the squared error
(`adaptation/linear_problem.py`) ends as N grows; it is differentiated through the Cholesky solution.
"""

import copy
import math

import keras
import tensorflow as tf

from anil_tf.models.heads.base import MakeScalar, Solver
from anil_tf.models.heads.from_examples import HeadFromExamples, Linear

# Where the scale of one-hot targets starts. Numbers are fitted as they are: theirs starts at 1.
_SCALE = 10.0


class RidgeHead(HeadFromExamples):
    """Its last layer is the ridge regression on the support, times a learned scale, with a learned strength."""

    def __init__(self, model: keras.Model, make_scalar: MakeScalar, *, l2: float = 0.0):
        """See `Head`; l2, above 0, is where the strength starts."""
        super().__init__(model, make_scalar, l2=l2)
        if l2 <= 0:
            raise ValueError(
                f"A ridge head needs inner_l2 > 0, where its own l2 starts. Received: inner_l2={l2:g}."
            )
        # No bias is learned beside the scale: one that all classes share cancels in softmax, so its gradient is zero.
        self._scale = make_scalar("ridge_scale", _SCALE)
        self._log_l2 = make_scalar("ridge_log_l2", math.log(l2))
        self._solver: Solver = cholesky

    def with_solver(self, solver: Solver) -> "RidgeHead":
        """See `Head`."""
        other = copy.copy(self)
        other._solver = solver
        return other

    def last_layer(self, hidden: tf.Tensor, labels: tf.Tensor, ways: int | tf.Tensor) -> Linear:
        """See `HeadFromExamples`."""
        factor = tf.cast(self._scale, hidden.dtype)
        if labels.dtype.is_floating:
            factor /= _SCALE
            targets = tf.cast(labels, hidden.dtype)
        else:
            targets = tf.one_hot(labels, ways, dtype=hidden.dtype)
        l2 = tf.exp(tf.cast(self._log_l2, hidden.dtype))
        kernel, bias = ridge_regression(hidden, targets, l2, solver=self._solver)
        return factor * kernel, factor * bias


def cholesky(matrix: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """Solves A X = R by the Cholesky factor of A; see `Solver`."""
    return tf.linalg.cholesky_solve(tf.linalg.cholesky(matrix), right)


def ridge_regression(
    features: tf.Tensor, targets: tf.Tensor, l2: tf.Tensor | float, *, solver: Solver = cholesky
) -> Linear:
    """Fits one linear layer to the support of a task.

    Args:
        features: H, [n, d].
        targets: Y, [n, C].
        l2: lambda > 0, a number or a scalar of the features' precision; it holds back kernel and bias alike, and more
            so with more ways and shots, because the loss is a mean over n C entries.
        solver: of the linear system.

    Returns:
        kernel [d, C] and bias [C].
    """
    rows = tf.shape(targets)[0]
    ridge = l2 * tf.cast(tf.size(targets), features.dtype) / 2.0
    gram = tf.matmul(features, features, transpose_b=True) + 1.0  # the ones' share of H H^T
    identity = tf.one_hot(tf.range(rows), rows, dtype=features.dtype)
    weights = solver(gram + ridge * identity, targets)  # [n, C]
    bias = tf.reduce_sum(weights, axis=0, keepdims=True)[0]  # keepdims: see `PrototypeHead`
    return tf.matmul(features, weights, transpose_a=True), bias
