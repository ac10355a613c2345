"""The constants of the theory at a frozen point: in closed form for a linear head, sampled for all else."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from anil_tf.study.learner_losses import task_losses
from anil_tf.study.measurements.frozen_point import FrozenPoint
from anil_tf.theory.bounds import Constants, softmax_constants
from anil_tf.theory.landscape import block_landscape, concatenate, head_landscape


def head_constants(point: FrozenPoint) -> Constants:
    """mu, L, rho and M by a linear head, from the features of support and queries: true bounds, whatever w is.

    L is lambda + lambda_max(H^T H/n)/2 of the worst of the tasks, rho and M follow from the longest feature.
    """
    support, queries = point.features()
    squares = [float(np.max(np.sum(np.square(h), axis=-1))) for h in (support, queries)]
    limits = softmax_constants(math.sqrt(max(squares) + 1.0), point.l2)  # the 1 of the bias
    curvatures = [
        head_landscape(problem, point.start, [features], steps=0, step_size=1.0).smoothness_bound
        for problem, features in (
            (point.problem(), support),
            (point.problem(support=False), queries),
        )
    ]
    return dataclasses.replace(limits, smoothness=float(np.max(curvatures)))


def sampled_constants(point: FrozenPoint, *, steps: int, step_size: float) -> Constants:
    """All constants by head and body, the worst of the tasks: met along an inner loop, hence bounds from below."""
    learner = point.learner(inner_steps=steps, inner_step_size=step_size)
    found = []
    for task in range(point.tasks):
        losses = task_losses(learner, point.inputs, point.query_labels, task)
        found.append(block_landscape(*losses, steps=steps, step_size=step_size))
    return concatenate(found).constants()
