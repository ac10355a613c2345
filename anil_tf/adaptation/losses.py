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


def inner_loss(
    outputs: tf.Tensor,
    targets: tf.Tensor,
    adapted: Sequence[tf.Tensor],
    *,
    loss: str,
    l2: float,
) -> tf.Tensor:
    """The loss that adaptation descends on, for one task: L_S(w, s) = loss + (lambda/2) |w|^2.

    `linear_problem.py` has its derivatives in closed form for a linear head.

    Args:
        outputs: of the support, [n_s, ways].
        targets: classes [n_s], or numbers of the shape of `outputs`.
        adapted: w, the tensors that adapt.
        loss: one of `LOSSES`.
        l2: lambda.

    Returns:
        A scalar.
    """
    value = LOSSES[loss](outputs, targets)
    return value + l2 * half_squared_norm(adapted) if l2 else value
