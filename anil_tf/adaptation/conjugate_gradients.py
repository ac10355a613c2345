"""Conjugate gradients for all tasks at once: solves A x = b where only products with A are to be had.

`tf.linalg.experimental.conjugate_gradient` does the same for flat vectors, but divides zero by zero on a task that is
solved before the others, or whose right-hand side is zero.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from anil_tf.adaptation.problem import Tensors


def conjugate_gradients(
    product: Callable[[Tensors], Tensors],
    right: Tensors,
    *,
    tolerance: float,
    max_iterations: int,
) -> Tensors:
    """Solves A_t x_t = b_t for each task t (Hestenes and Stiefel 1952).

    Args:
        product: x -> A x, tensors [B, ...] to tensors of the same shapes; each A_t symmetric and positive definite.
        right: b, tensors [B, ...].
        tolerance: stop when the residual of every task is below this share of its right-hand side (Euclidean norms).
        max_iterations: stop after so many products in any case.

    Returns:
        x, tensors of the shapes of `right`.
    """
    goal = tolerance**2 * dot(right, right)

    def is_unsolved(solution: Tensors, residual: Tensors, direction: Tensors) -> tf.Tensor:
        return tf.reduce_any(dot(residual, residual) > goal)

    def improve(solution: Tensors, residual: Tensors, direction: Tensors) -> tuple[Any, ...]:
        image = product(direction)
        before = dot(residual, residual)
        length = tf.math.divide_no_nan(before, dot(direction, image))
        solution = add(solution, length, direction)
        residual = add(residual, -length, image)
        turn = tf.math.divide_no_nan(dot(residual, residual), before)
        return solution, residual, add(residual, turn, direction)

    zeros = [tf.zeros_like(part) for part in right]
    solution, _, _ = tf.while_loop(
        is_unsolved,
        improve,
        (zeros, list(right), list(right)),
        maximum_iterations=max_iterations,
    )
    return solution


def dot(one: Tensors, other: Tensors) -> tf.Tensor:
    """Inner product of the tensors of each task, all together; [B]."""
    return tf.add_n(
        [
            tf.reduce_sum(a * b, axis=list(range(1, a.shape.rank)))
            for a, b in zip(one, other, strict=True)
        ]
    )


def add(tensors: Tensors, factor: tf.Tensor, others: Tensors) -> Tensors:
    """Returns tensors + factor * others, with one factor per task, [B]."""
    return [
        a + tf.reshape(factor, [-1] + [1] * (b.shape.rank - 1)) * b
        for a, b in zip(tensors, others, strict=True)
    ]
