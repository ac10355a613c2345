"""Losses of the inner problem, each a mean over the support of one task."""

from collections.abc import Callable, Sequence

import tensorflow as tf


def cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Mean cross-entropy of softmax(logits [rows, ways]) against the classes labels [rows]; a scalar."""
    return tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    )


def squared_error(outputs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Mean squared error of outputs against targets, both [rows, dimensions]; a scalar."""
    outputs.shape.assert_is_compatible_with(targets.shape)  # no broadcasting by mistake
    return tf.reduce_mean(tf.math.squared_difference(outputs, tf.cast(targets, outputs.dtype)))


def half_squared_norm(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    """Half the squared Euclidean norm of all tensors together; a scalar.

    Times lambda it makes the inner loss of a linear head lambda-strongly convex. It is squared: the plain norm, which
    some published scripts use, is not strongly convex.
    """
    return tf.add_n([tf.nn.l2_loss(tensor) for tensor in tensors])


Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
LOSSES: dict[str, Loss] = {"cross_entropy": cross_entropy, "squared_error": squared_error}
