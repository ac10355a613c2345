"""The inner loop, written out step by step: gradient descent that can itself be differentiated.

    w_0 = w,    w_{m+1} = w_m - alpha * grad L_S(w_m),    m = 0 .. N-1

(Algorithm 1 of Ji et al. 2020, arXiv:2006.09486.) Each step is taken under its own `tf.GradientTape`; an outer tape
that watches w, or anything the loss depends on, sees through all of them and so computes the meta-gradient of
Proposition 1.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf

# Loss of the adapted tensors at inner step m: loss(tensors, m) -> scalar.
SupportLoss = Callable[[list[tf.Tensor], int], tf.Tensor]


def gradient_descent(
    loss: SupportLoss,
    start: Sequence[tf.Tensor],
    *,
    steps: int,
    step_sizes: Sequence[tf.Tensor | float],
    first_order: bool = False,
) -> list[tf.Tensor]:
    """Takes `steps` steps of gradient descent on the support loss of one task.

    Args:
        loss: the support loss, a function of the adapted tensors and of the number of the step.
        start: w_0, a list of tensors of any shapes.
        steps: N, 0 or more.
        step_sizes: alpha for each tensor, a scalar or a shape that broadcasts to the tensor's (Meta-SGD).
        first_order: treat the support gradients as constants, which drops the Hessian and mixed terms of the
            meta-gradient (FOMAML, Finn et al. 2017).

    Returns:
        w_N, tensors of the shapes of `start`.

    Example:
        >>> gradient_descent(lambda w, m: 0.5 * w[0] ** 2, [tf.constant(1.0)], steps=2, step_sizes=[0.5])
        [<tf.Tensor: ... numpy=0.25>]
    """
    tensors = [tf.convert_to_tensor(tensor) for tensor in start]
    for step in range(steps):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = loss(tensors, step)
        # A tensor that the loss cannot see (a trunk below a zero last layer does see it) stays where it is.
        gradients = tape.gradient(
            value, tensors, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        if first_order:
            gradients = [tf.stop_gradient(gradient) for gradient in gradients]
        tensors = [
            tensor - _like(tensor, size) * gradient
            for tensor, gradient, size in zip(tensors, gradients, step_sizes, strict=True)
        ]
    return tensors


def _like(tensor: tf.Tensor, size: tf.Tensor | float) -> tf.Tensor | float:
    """A step size in the tensor's precision; a Python number takes it by itself, without a detour over float32."""
    return size if isinstance(size, float | int) else tf.cast(size, tensor.dtype)
