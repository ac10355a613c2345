"""The inner problem of a linear head, in closed form.

One task: features H [n, d], targets Y [n, C] (one-hot for classes), head W [d, C] and b [C], outputs Z = H W + b.

    cross_entropy   L = -mean_i log softmax(Z)[i, y_i]        dL/dZ = E = (softmax(Z) - Y) / n
    squared_error   L = mean_ic (Z - Y)^2                     dL/dZ = E = 2 (Z - Y) / (n C)

With (lambda/2)(|W|^2 + |b|^2) added, which makes it lambda-strongly convex in (W, b), the gradient is

    g_W = H^T E + lambda W,          g_b = sum_i E_i + lambda b.

Let (V, c) be a vector of the head's shape and U = H V + c, what the outputs would change by along it. E then changes by

    cross_entropy   R = P * (U - rowsum(P * U)) / n,   P = softmax(Z)
    squared_error   R = 2 U / (n C)

and differentiating <g, (V, c)> = <E, U> + lambda (<W, V> + <b, c>) by head and features gives the two products

    Hessian-vector   (H^T R + lambda V,  sum_i R_i + lambda c)
    mixed            E V^T + R W^T          [n, d]
"""

import tensorflow as tf

from anil_tf.adaptation.problem import Tensors


class LinearProblem:
    """An `InnerProblem` with w = [W [B, d, C], b [B, C]], or [W] alone, and s = [H [B, n, d]]."""

    def __init__(self, targets: tf.Tensor, *, loss: str, l2: float):
        """Takes the targets of all tasks.

        Args:
            targets: Y, [B, n, C]; one-hot rows for cross-entropy.
            loss: "cross_entropy" or "squared_error".
            l2: lambda.
        """
        self.l2 = l2
        self._targets, self._loss = targets, loss
        self._rows = tf.cast(tf.shape(targets)[1], targets.dtype)
        self._entries = tf.cast(tf.reduce_prod(tf.shape(targets)[1:]), targets.dtype)

    @classmethod
    def of_labels(
        cls, labels: tf.Tensor, ways: int | tf.Tensor, *, dtype: tf.DType, loss: str, l2: float
    ) -> "LinearProblem":
        """States the problem of all tasks by their labels.

        Args:
            labels: classes, int [B, n] (squared error: targets [B, n, C]).
            ways: number of classes.
            dtype: what the head computes in.
            loss: "cross_entropy" or "squared_error".
            l2: lambda.
        """
        if loss == "cross_entropy":
            targets = tf.one_hot(tf.cast(labels, tf.int32), ways, dtype=dtype)
        else:
            columns = ways if isinstance(ways, int) else None
            targets = tf.ensure_shape(tf.cast(labels, dtype), [None, None, columns])
        return cls(targets, loss=loss, l2=l2)

    def gradient(self, adapted: Tensors, shared: Tensors, step: int | tf.Tensor = 0) -> Tensors:
        """See `InnerProblem`."""
        (features,) = shared
        errors = self.errors(linear(features, adapted))
        return self._pull_back(features, errors, adapted)

    def products(
        self, adapted: Tensors, shared: Tensors, step: int | tf.Tensor, vector: Tensors
    ) -> tuple[Tensors, Tensors]:
        """See `InnerProblem`."""
        (features,) = shared
        outputs = linear(features, adapted)
        change = self.change_of_errors(outputs, linear(features, vector))
        mixed = tf.matmul(self.errors(outputs), vector[0], transpose_b=True)
        mixed += tf.matmul(change, adapted[0], transpose_b=True)
        return self._pull_back(features, change, vector), [mixed]

    def largest_range(self, shared: Tensors, vector: Tensors) -> tf.Tensor:
        """How unevenly outputs change along (V, c): max over rows i of max_c U_ic - min_c U_ic, [B].

        It bounds how fast the curvature of cross-entropy changes, for `implicit.newton`; that of a squared error does
        not change, and has 0 here.
        """
        if self._loss == "squared_error":
            return tf.zeros_like(vector[0][:, 0, 0])
        change = linear(shared[0], vector)
        spread = tf.reduce_max(change, axis=-1) - tf.reduce_min(change, axis=-1)
        return tf.reduce_max(spread, axis=-1)

    def errors(self, outputs: tf.Tensor) -> tf.Tensor:
        """E [B, n, C]: the derivative of the loss by the outputs."""
        if self._loss == "cross_entropy":
            return (tf.nn.softmax(outputs) - self._targets) / self._rows
        return 2.0 * (outputs - self._targets) / self._entries

    def change_of_errors(self, outputs: tf.Tensor, change: tf.Tensor) -> tf.Tensor:
        """R [B, n, C]: how E changes while the outputs Z change by U."""
        if self._loss == "cross_entropy":
            shares = tf.nn.softmax(outputs)
            mean = tf.reduce_sum(shares * change, axis=-1, keepdims=True)
            return shares * (change - mean) / self._rows
        return 2.0 * change / self._entries

    def _pull_back(self, features: tf.Tensor, errors: tf.Tensor, adapted: Tensors) -> Tensors:
        """From outputs back to the head: H^T E + lambda W, and sum_i E_i + lambda b."""
        kernel = tf.matmul(features, errors, transpose_a=True)
        pulled = [kernel, tf.reduce_sum(errors, axis=1)][: len(adapted)]
        if not self.l2:
            return pulled
        return [part + self.l2 * tensor for part, tensor in zip(pulled, adapted, strict=True)]


def linear(features: tf.Tensor, head: Tensors) -> tf.Tensor:
    """Outputs Z [B, n, C] of features H [B, n, d] under a head [W [B, d, C], b [B, C]], or [W]."""
    outputs = tf.matmul(features, head[0])
    return outputs + head[1][:, None] if len(head) > 1 else outputs
