"""Adaptation of one linear layer in closed forms: for runtimes that cannot differentiate.

This is `MetaLearner.task_state` for heads of one linear layer, in operations that LiteRT has built in: no tape, no list
of tensors, no fused kernel, no factorisation of a matrix. The gradient is that of `adaptation/linear_problem.py`,

    W <- W - alpha (H^T (softmax(H W + b) - Y) / n + lambda W)

and the system of ridge regression (`models/heads/ridge.py`) is solved by elimination. The numbers are the same but for
rounding. Predictions need no such thing: `MetaLearner.answer` is plain already.
"""

from collections.abc import Callable

import tensorflow as tf

from anil_tf.adaptation.implicit import descend_to_minimum, newton
from anil_tf.adaptation.linear_problem import LinearProblem
from anil_tf.adaptation.problem import Tensors
from anil_tf.adaptation.unrolled import StepSizes, descend
from anil_tf.learner.adapted_classifier import TaskState
from anil_tf.learner.embedding import embed
from anil_tf.meta_learner import MetaLearner
from anil_tf.models.normalization import Batch, Moving, Source
from anil_tf.models.structure import is_linear

# Steps up to here are written out, which runs faster; a loop takes more of them.
_MOST_UNROLLED = 32


def check(learner: MetaLearner) -> None:
    """Raises a ValueError for a learner whose adaptation has no closed form here."""
    if not is_linear(learner.head):
        raise ValueError(
            "This format computes the gradient of one linear layer in closed form, and of nothing else. Received "
            f"adapted layers: {learner.describe()['adapted']}. Export as saved_model, which holds any head, or train "
            "with adapted_layers=1."
        )
    if learner.head.variable_dtype != "float32":
        raise ValueError(
            f"This format computes in float32. Received a head in {learner.head.variable_dtype}. Export as saved_model."
        )


def task_state(
    learner: MetaLearner,
    images: tf.Tensor,
    labels: tf.Tensor,
    ways: int | tf.Tensor,
    normalization: str = "support",
) -> TaskState:
    """Adapts a learner that `check` lets pass to one task; see `MetaLearner.task_state` for arguments and result."""
    source: Source = Moving() if normalization == "running" else Batch(plain=True)
    features, statistics = embed(learner.body, images, source, dtype=learner.head.variable_dtype)
    features = tf.reshape(features, [-1, features.shape[1:].num_elements()])
    start = learner.adapted_head.with_solver(eliminate).start(features, labels, ways, source)
    if not learner.has_inner_loop:
        return TaskState(start, statistics, {})
    problem = LinearProblem.of_labels(
        labels[None], ways, dtype=features.dtype, loss=learner.inner_loss, l2=learner.inner_l2
    )
    sizes = [
        size if isinstance(size, float) else tf.convert_to_tensor(size)
        for size in learner.step_sizes
    ]
    adapted = _minimise(learner, problem, [part[None] for part in start], features[None], sizes)
    return TaskState([tensor[0] for tensor in adapted], statistics, {})


def _minimise(
    learner: MetaLearner,
    problem: LinearProblem,
    start: Tensors,
    features: tf.Tensor,
    step_sizes: StepSizes,
) -> Tensors:
    """Adapts one task, all tensors with a leading axis of 1."""
    if learner.differentiation == "implicit":
        tolerance = learner.inner_tolerance
        if learner.inner_solver == "newton":
            return newton(problem, start, [features], tolerance=tolerance)
        return descend_to_minimum(problem, start, [features], tolerance, step_sizes)

    def step(*adapted: tf.Tensor) -> Tensors:
        gradient = problem.gradient(list(adapted), [features])
        return descend(list(adapted), gradient, step_sizes)

    return _repeat(step, start, learner.inner_steps)


def _repeat(step: Callable[..., Tensors], tensors: Tensors, times: int) -> Tensors:
    if times <= _MOST_UNROLLED:
        for _ in range(times):
            tensors = step(*tensors)
        return tensors
    shapes = [tensor.shape for tensor in tensors]

    def shaped(*tensors: tf.Tensor) -> Tensors:
        return [tf.ensure_shape(t, s) for t, s in zip(step(*tensors), shapes, strict=True)]

    _, *tensors = tf.while_loop(
        lambda done, *_: done < times,
        lambda done, *tensors: (done + 1, *shaped(*tensors)),
        (tf.constant(0), *tensors),
    )
    return tensors


def eliminate(matrix: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """Solves A X = R by Gauss-Jordan elimination, which needs no pivoting where A is positive definite.

    With e the unit vector of row i and [A R] the system, one pass makes column i of A that unit vector:

        [A R] <- [A R] - (A e - e) (row i of [A R]) / A_ii

    Args:
        matrix: A [n, n], symmetric and positive definite.
        right: R [n, C].

    Returns:
        X [n, C].
    """
    rows = tf.shape(matrix)[0]

    def clear_column(done: tf.Tensor, system: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        column = tf.gather(system, done, axis=1)
        row = tf.gather(system, done, axis=0) / tf.gather(column, done)
        column -= tf.one_hot(done, rows, dtype=system.dtype)
        return done + 1, system - column[:, None] * row[None, :]

    system = tf.concat([matrix, right], axis=1)
    _, system = tf.while_loop(
        lambda done, _: done < rows,
        clear_column,
        (tf.constant(0), system),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, None])),
    )
    return tf.reshape(system[:, rows:], tf.shape(right))
