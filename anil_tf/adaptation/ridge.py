"""Ridge regression on one-hot targets, in closed form: adaptation without an inner loop (R2D2, Bertinetto et al. 2019).

With a column of ones appended to the features H [n, d] for the bias, the minimum of

    mean_ic (H W - Y)^2 + (lambda/2) |W|^2

satisfies H^T (H W - Y) 2/(n C) + lambda W = 0, that is with r = lambda n C / 2

    W = (H^T H + r I_d)^{-1} H^T Y  =  H^T (H H^T + r I_n)^{-1} Y        (arXiv:1805.08136)

whose second form has a matrix of n rows, however wide the features. It is where gradient descent on the squared error
(`linear_problem.py`) ends as N grows; it is differentiated through the Cholesky solution.
"""

import tensorflow as tf


def ridge_regression(
    features: tf.Tensor, targets: tf.Tensor, l2: tf.Tensor | float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Fits one linear layer to the support of a task.

    Args:
        features: H, [n, d].
        targets: Y, [n, C].
        l2: lambda > 0, a number or a scalar of the features' precision; it holds back kernel and bias alike, and more
            so with more ways and shots, because the loss is a mean over n C entries.

    Returns:
        kernel [d, C] and bias [C].
    """
    rows = tf.shape(targets)[0]
    ridge = l2 * tf.cast(tf.size(targets), features.dtype) / 2.0
    gram = tf.matmul(features, features, transpose_b=True) + 1.0  # the ones' share of H H^T
    factor = tf.linalg.cholesky(gram + ridge * tf.eye(rows, dtype=features.dtype))
    weights = tf.linalg.cholesky_solve(factor, targets)  # [n, C]
    bias = tf.reduce_sum(weights, axis=0, keepdims=True)[0]  # keepdims: see heads.prototype_start
    return tf.matmul(features, weights, transpose_a=True), bias
