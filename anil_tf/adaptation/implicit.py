"""Adaptation to the very minimum, differentiated by the implicit function theorem.

A strongly convex support loss has one minimum w*(s), where grad_w L_S(w*, s) = 0. Differentiating that by s, with
H = grad_w^2 L_S and J = grad_s grad_w L_S at (w*, s),

    H dw*/ds + J^T = 0,      so      dL_D/ds = grad_s L_D(w*, s) - J u,    where    H u = grad_w L_D(w*, s).

One system of equations, solved by conjugate gradients. Neither the path to the minimum nor its length matters, so that
memory and time do not depend on a number of inner steps. It is the limit of Proposition 1 as N grows (Bengio 2000;
Rajeswaran et al. 2019, arXiv:1909.04630), and the start w_0, which the minimum has forgotten, has gradient zero.
"""

from typing import Any

import tensorflow as tf

from anil_tf.adaptation.conjugate_gradients import add, conjugate_gradients, dot
from anil_tf.adaptation.linear_problem import LinearProblem
from anil_tf.adaptation.problem import InnerProblem, Tensors
from anil_tf.adaptation.unrolled import StepSizes, descend

SOLVERS = ("newton", "gradient_descent")
_MAX_PRODUCTS = 1000
_MAX_NEWTON_STEPS = 100
_MAX_DESCENT_STEPS = 100_000


def minimum(
    problem: LinearProblem,
    start: Tensors,
    shared: Tensors,
    *,
    solver: str,
    tolerance: float,
    step_sizes: StepSizes,
) -> Tensors:
    """Adapts each task until its support loss is at its minimum.

    Args:
        problem: the support losses of B tasks, with lambda > 0: without it separable data has no minimum.
        start: w_0, tensors [B, ...], where the search begins.
        shared: s, tensors [B, ...].
        solver: "newton" or "gradient_descent".
        tolerance: the search ends when the Euclidean norm of each task's support gradient is below this; the linear
            system of the derivative is solved to this share of its right-hand side.
        step_sizes: alpha for each tensor; only gradient descent uses it.

    Returns:
        w*, tensors of the shapes of `start`. A search that does not get there ends after 100 Newton steps or 100,000
        steps of gradient descent, and is returned as it is; a step size above 2/L, with which descent diverges, shows
        as NaN.
    """
    count = len(start)

    @tf.custom_gradient
    def run(*arguments: tf.Tensor) -> tuple[Any, ...]:
        start, shared = list(arguments[:count]), list(arguments[count:])
        if solver == "newton":
            adapted = newton(problem, start, shared, tolerance=tolerance)
        else:
            adapted = descend_to_minimum(problem, start, shared, tolerance, step_sizes)

        def reverse(*cotangent: tf.Tensor) -> Tensors:
            solution = conjugate_gradients(
                lambda vector: problem.products(adapted, shared, 0, vector)[0],
                [tf.convert_to_tensor(part) for part in cotangent],  # eager slices come sparse
                tolerance=tolerance,
                max_iterations=_MAX_PRODUCTS,
            )
            _, mixed_product = problem.products(adapted, shared, 0, solution)
            return [tf.zeros_like(part) for part in start] + [-part for part in mixed_product]

        return tuple(adapted), reverse

    return list(run(*start, *shared))


def descend_to_minimum(
    problem: InnerProblem,
    start: Tensors,
    shared: Tensors,
    tolerance: float,
    step_sizes: StepSizes,
) -> Tensors:
    """Gradient descent until the gradient of every task is below `tolerance`; see `minimum`."""

    def is_unfinished(adapted: Tensors, gradient: Tensors) -> tf.Tensor:
        return tf.reduce_any(dot(gradient, gradient) > tolerance**2)

    def improve(adapted: Tensors, gradient: Tensors) -> tuple[Any, ...]:
        adapted = descend(adapted, gradient, step_sizes)
        return adapted, problem.gradient(adapted, shared, 0)

    state = (start, problem.gradient(start, shared, 0))
    return tf.while_loop(is_unfinished, improve, state, maximum_iterations=_MAX_DESCENT_STEPS)[0]


def newton(problem: LinearProblem, start: Tensors, shared: Tensors, *, tolerance: float) -> Tensors:
    """Damped Newton steps until the gradient of every task is below `tolerance`; see `minimum`.

    A full step can overshoot where the curvature of cross-entropy changes. Let r be the largest range, over the rows,
    of the outputs' change along the step D. The third derivative of log-sum-exp along D is a third central moment of
    that change, hence at most r times the second one, and with f(t) = L(w - t D), f'(0) = -f''(0) = -<g, D>:

        f(t) <= f(0) - <g, D> (t - (e^{rt} - 1 - rt) / r^2)

    whose minimum is at t = log(1 + r) / r: below 1 far away, and 1 in the limit, where Newton converges quadratically
    (after Sun and Tran-Dinh 2019, Generalized self-concordant functions). For a squared error r counts as 0.
    """

    def is_unfinished(adapted: Tensors, gradient: Tensors) -> tf.Tensor:
        return tf.reduce_any(dot(gradient, gradient) > tolerance**2)

    def improve(adapted: Tensors, gradient: Tensors) -> tuple[Any, ...]:
        direction = conjugate_gradients(
            lambda vector: problem.products(adapted, shared, 0, vector)[0],
            gradient,
            tolerance=1e-2,  # as exact as a step needs to be: the next one corrects it
            max_iterations=_MAX_PRODUCTS,
        )
        bend = problem.largest_range(shared, direction)
        length = tf.where(bend > 0, tf.math.divide_no_nan(tf.math.log1p(bend), bend), 1.0)
        adapted = add(adapted, -length, direction)
        return adapted, problem.gradient(adapted, shared, 0)

    state = (start, problem.gradient(start, shared, 0))
    return tf.while_loop(is_unfinished, improve, state, maximum_iterations=_MAX_NEWTON_STEPS)[0]
