"""The inner loop, written out step by step: gradient descent that can itself be differentiated.

    w_0 = w,    w_{m+1} = w_m - alpha * grad_w L_S(w_m, s),    m = 0 .. N-1

(Algorithm 1 of Ji et al. 2020, arXiv:2006.09486.) A tape that watches w or s sees through all the steps, keeps what
each of them computed, and so arrives at the meta-gradient of Proposition 1. It is the plainest engine, the reference
that the others are tested against, and the one to take when memory is no concern and the steps are costly (MAML).
"""

from collections.abc import Sequence

import tensorflow as tf

from anil_tf.adaptation.problem import InnerProblem, Tensors

# alpha for each adapted tensor: a number, or a learned tensor that broadcasts to the adapted one (Meta-SGD).
StepSizes = Sequence[float | tf.Tensor]


def gradient_descent(
    problem: InnerProblem,
    start: Tensors,
    shared: Tensors,
    *,
    steps: int,
    step_sizes: StepSizes,
    differentiated_steps: int,
) -> Tensors:
    """Takes `steps` steps of gradient descent on the support loss of each task.

    Args:
        problem: the support losses of B tasks.
        start: w_0, tensors [B, ...].
        shared: s, tensors [B, ...].
        steps: N, 0 or more.
        step_sizes: alpha for each tensor.
        differentiated_steps: how many steps, the last ones, are differentiated through; the gradients of those before
            count as constants. N is exact, 0 is first order (FOMAML, Finn et al. 2017).

    Returns:
        w_N, tensors of the shapes of `start`.

    Example:
        >>> problem = TapedProblem(lambda w, s, _, m: 0.5 * w[0] ** 2, (), mode="vectorized")
        >>> gradient_descent(problem, [tf.constant([1.0])], [], steps=2, step_sizes=[0.5], differentiated_steps=2)
        [<tf.Tensor: ... numpy=array([0.25], dtype=float32)>]
    """
    constant_steps = steps - differentiated_steps
    adapted = list(start)
    for step in range(steps):
        gradient = problem.gradient(adapted, shared, step)
        if step < constant_steps:
            gradient = [tf.stop_gradient(part) for part in gradient]
        adapted = descend(adapted, gradient, step_sizes)
    return adapted


def descend(adapted: Tensors, gradient: Tensors, step_sizes: StepSizes) -> Tensors:
    """One step: w - alpha * g, tensor by tensor."""
    return [
        tensor - size * part
        for tensor, size, part in zip(adapted, step_sizes, gradient, strict=True)
    ]
