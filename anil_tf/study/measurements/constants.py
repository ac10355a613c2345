"""The constants of the theory at a frozen point: in closed form for a linear head, sampled for all else."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from anil_tf.adaptation.linear_problem import LinearProblem
from anil_tf.adaptation.losses import inner_loss
from anil_tf.adaptation.problem import Tensors
from anil_tf.models.structure import is_linear
from anil_tf.study.learner_losses import TaskLosses, task_losses
from anil_tf.study.measurements.frozen_point import FrozenPoint
from anil_tf.theory import linear_curvature
from anil_tf.theory.bounds import Constants, softmax_constants
from anil_tf.theory.landscape import block_landscape, concatenate

# Second derivatives are taken evenly over the steps of the inner loop; by then it has gone most of its way.
_SAMPLED_STEPS = 64


def head_constants(point: FrozenPoint) -> Constants:
    """mu, L, rho and M by a linear head, from the features of support and queries: true bounds, whatever w is.

    L is lambda + lambda_max(H^T H/n)/2 of the worst of the tasks, rho and M follow from the longest feature.
    """
    support, queries = point.features()
    squares = [float(np.max(np.sum(np.square(h), axis=-1))) for h in (support, queries)]
    limits = softmax_constants(math.sqrt(max(squares) + 1.0), point.l2)  # the 1 of the bias
    assert is_linear(point.head), "only a linear head has closed forms"
    how = {"dtype": point.head.variable_dtype, "loss": "cross_entropy"}
    curvatures = []
    for features, labels, l2 in (
        (support, point.inputs["support_labels"], point.l2),
        (queries, point.query_labels, 0.0),
    ):
        problem = LinearProblem.of_labels(labels, point.head.output_shape[-1], l2=l2, **how)
        found = linear_curvature.closed_forms(problem, point.start, [features])
        curvatures.append(found["smoothness_bound"].max())
    return dataclasses.replace(limits, smoothness=float(max(curvatures)))


def worst(found: Iterable[Constants]) -> Constants:
    """Constants that hold wherever one of these does: the smallest mu, the largest of all others."""
    table = np.array([dataclasses.astuple(one) for one in found])
    return Constants(
        float(table[:, 0].min()), *(float(value) for value in table[:, 1:].max(axis=0))
    )


def sampled_constants(point: FrozenPoint, *, steps: int, step_size: float) -> Constants:
    """The constants by head and body, the worst of all tasks: met along the inner loop, hence estimates from below.

    mu of a linear head is lambda for sure. See `block_landscape` for the points that are tried.
    """
    learner = point.learner(inner_steps=steps, inner_step_size=step_size)
    losses = (
        task_losses(learner, point.inputs, point.query_labels, task) for task in range(point.tasks)
    )
    return _worst_sampled(point, losses, steps, step_size)


def sampled_head_constants(point: FrozenPoint, *, steps: int, step_size: float) -> Constants:
    """`sampled_constants` by the head alone, on features that stand still: tau is 0."""
    support, queries = point.features()
    losses = (_head_losses(point, support, queries, task) for task in range(point.tasks))
    return _worst_sampled(point, losses, steps, step_size)


def _worst_sampled(
    point: FrozenPoint, losses: Iterable[TaskLosses], steps: int, step_size: float
) -> Constants:
    """The worst of what is met along the inner loop of each task; mu of a linear head is known."""
    found = [block_landscape(*one, steps=steps, step_size=step_size) for one in losses]
    constants = concatenate(found).constants()
    return dataclasses.replace(constants, mu=point.l2) if is_linear(point.head) else constants


def at_inverse_smoothness(
    point: FrozenPoint, closed: Constants, *, steps: int
) -> tuple[Constants, float]:
    """Finds alpha = 1/L, and the constants by head and body met on the very inner loop of that alpha.

    Args:
        point: with a linear head.
        closed: its `head_constants`.
        steps: N of the longest inner loop; its first 64 steps are sampled.

    Returns:
        The sampled constants, and alpha: L is the larger of the closed form and of what is met at the start, and alpha
        is halved or more if what is met further on puts it beyond 2/(L + mu), up to which bounds hold.
    """

    def sample(steps: int, step_size: float) -> Constants:
        return sampled_constants(point, steps=steps, step_size=step_size)

    steps = min(steps, _SAMPLED_STEPS)
    step_size = 1.0 / max(closed.smoothness, sample(0, 1.0).smoothness)
    while True:
        sampled = sample(steps, step_size)
        if step_size * (sampled.smoothness + sampled.mu) <= 2.0:
            return sampled, step_size
        step_size = 1.0 / sampled.smoothness


def _head_losses(
    point: FrozenPoint, support: tf.Tensor, queries: tf.Tensor, task: int
) -> TaskLosses:
    """Support and query loss of one task as functions of the head alone, w_0, and no body."""

    def loss(w: Tensors, features: tf.Tensor, labels: tf.Tensor, l2: float) -> tf.Tensor:
        outputs = point.logits(w, features[task])
        return inner_loss(outputs, labels[task], w, loss="cross_entropy", l2=l2)

    def support_loss(w: Tensors, phi: Tensors) -> tf.Tensor:
        return loss(w, support, point.inputs["support_labels"], point.l2)

    def query_loss(w: Tensors, phi: Tensors) -> tf.Tensor:
        return loss(w, queries, point.query_labels, 0.0)

    return support_loss, query_loss, [part[task] for part in point.start], []
