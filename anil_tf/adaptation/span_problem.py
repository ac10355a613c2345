"""The inner problem of a linear head, in the span of the support: the cost of a step does not know the feature width.

Gradients of a linear head are combinations of the n support features (`linear_problem.py`), so that descent from W_0
never leaves s W_0 + H^T C with few numbers C [n, classes]. Write a column of ones into H for the bias. Then

    W_m = s_m W_0 + H^T C_m,       s_m = (1 - alpha lambda)^m,       C_0 = 0,
    C_{m+1} = C_m - alpha (E_m + lambda C_m),                        E_m = dL/dZ at Z_m = H W_m = s_m Z_0 + K C_m

with the Gram matrix K = H H^T [n, n] and the first outputs Z_0 = H W_0. This is gradient descent again, with
E + lambda C in the place of the gradient, so the engines take it as they take any problem, with w = C and s = [K, Z_0].
With R the change of E along U (see `linear_problem.py`; R is symmetric in U), the products with a vector v are

    by C:    K R + lambda v,       by K:    R C^T,       by Z_0:    s_m R,       each with U = v.

H and W_0 enter before and after: through K, Z_0 and W_N, which are differentiated as usual.
"""

import tensorflow as tf

from anil_tf.adaptation import explicit
from anil_tf.adaptation.linear_problem import LinearProblem, linear
from anil_tf.adaptation.problem import Tensors


class SpanProblem:
    """An `InnerProblem` with w = [C [B, n, classes]] and s = [K [B, n, n], Z_0 [B, n, classes]]."""

    def __init__(self, problem: LinearProblem, *, step_size: float):
        """Takes the same problem in the head's own coordinates, and alpha."""
        self._problem, self._l2 = problem, problem.l2
        self._shrinkage = 1.0 - step_size * problem.l2

    def gradient(self, adapted: Tensors, shared: Tensors, step: int | tf.Tensor) -> Tensors:
        """See `InnerProblem`; E + lambda C."""
        errors = self._problem.errors(self._outputs(adapted, shared, step))
        return [errors + self._l2 * adapted[0] if self._l2 else errors]

    def products(
        self, adapted: Tensors, shared: Tensors, step: int | tf.Tensor, vector: Tensors
    ) -> tuple[Tensors, Tensors]:
        """See `InnerProblem`."""
        outputs = self._outputs(adapted, shared, step)
        change = self._problem.change_of_errors(outputs, vector[0])
        by_adapted = tf.matmul(shared[0], change)
        if self._l2:
            by_adapted += self._l2 * vector[0]
        by_gram = tf.matmul(change, adapted[0], transpose_b=True)
        return [by_adapted], [by_gram, self._share_of_start(step, change) * change]

    def _outputs(self, adapted: Tensors, shared: Tensors, step: int | tf.Tensor) -> tf.Tensor:
        """Z_m = s_m Z_0 + K C."""
        gram, first = shared
        return self._share_of_start(step, first) * first + tf.matmul(gram, adapted[0])

    def _share_of_start(self, step: int | tf.Tensor, like: tf.Tensor) -> tf.Tensor:
        """s_m, a scalar in the precision of `like`."""
        return tf.pow(tf.constant(self._shrinkage, like.dtype), tf.cast(step, like.dtype))


def gradient_descent(
    problem: LinearProblem,
    start: Tensors,
    features: tf.Tensor,
    *,
    steps: int,
    step_size: float,
) -> Tensors:
    """Does what `explicit.gradient_descent` does for a linear head, at less cost per step where n is below the width.

    Args:
        problem: the support losses of B tasks.
        start: W_0 [B, d, classes], and b_0 [B, classes] unless the head has none.
        features: H, [B, n, d].
        steps: N, 0 or more.
        step_size: alpha, one number for all of the head.

    Returns:
        W_N, and b_N, of the shapes of `start`.
    """
    gram = tf.matmul(features, features, transpose_b=True)
    gram = gram + 1.0 if len(start) > 1 else gram  # the ones' share
    first = linear(features, start)
    (weights,) = explicit.gradient_descent(
        SpanProblem(problem, step_size=step_size),
        [tf.zeros_like(first)],
        [gram, first],
        steps=steps,
        step_sizes=[step_size],
        differentiated_steps=steps,
    )
    kept = (1.0 - step_size * problem.l2) ** steps
    moved = [tf.matmul(features, weights, transpose_a=True), tf.reduce_sum(weights, axis=1)]
    return [kept * tensor + part for tensor, part in zip(start, moved, strict=False)]
