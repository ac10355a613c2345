"""The way that the inner loop takes, and Hessian-vector products along it, for any head."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from anil_tf.adaptation.problem import InnerProblem, Tensors
from anil_tf.adaptation.unrolled import descend
from anil_tf.theory.flat import flatten, unflatten


def trajectory(
    problem: InnerProblem, start: Tensors, shared: Tensors, steps: int, step_size: float
) -> list[Tensors]:
    """Returns w_0 .. w_N, each a list of tensors [B, ...]; see `landscape.head_landscape` for the arguments."""
    gradient = tf.function(lambda point, step: problem.gradient(point, shared, step))
    points = [list(start)]
    for step in range(steps):
        slope = gradient(points[-1], tf.constant(step))
        points.append(descend(points[-1], slope, [step_size] * len(start)))
    return points


def hessian_products(
    problem: InnerProblem, shared: Tensors
) -> Callable[[Tensors, int, np.ndarray], np.ndarray]:
    """Returns the function (point, step, vectors [B, P]) -> d2L_S/dw2 vectors [B, P], compiled."""

    @tf.function
    def product(point: Tensors, step: tf.Tensor, vectors: tf.Tensor) -> tf.Tensor:
        curved, _ = problem.products(point, shared, step, unflatten(vectors, point))
        return flatten(curved)

    return lambda point, step, vectors: product(
        point, tf.constant(step), tf.constant(vectors, point[0].dtype)
    ).numpy()
