"""P3 and P4: how smooth the meta-loss is, block by block, as the inner loop grows longer.

L_meta is the mean query loss of the tasks after N inner steps. How its curvature is found is in `curvature.py`.

P3 (strongly convex): the block of the head fades, the block of the body grows and then saturates.
P4 (nonconvex): with a fixed alpha the curvature may grow as (1 + alpha L)^{2N}, with alpha = c/N it may not. The worst
case, an inner loss of curvature -L, is a cosine; beside it stands a two-layer head on real tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from anil_tf import MetaLearner
from anil_tf.adaptation import unrolled
from anil_tf.adaptation.problem import TapedProblem, Tensors
from anil_tf.study.cell import Row
from anil_tf.study.measurements.constants import (
    at_inverse_smoothness,
    head_constants,
    sampled_head_constants,
)
from anil_tf.study.measurements.curvature import Gradient, curvature
from anil_tf.study.measurements.frozen_point import FrozenPoint, doubling, frozen_point
from anil_tf.study.measurements.meta_gradient import meta_gradient
from anil_tf.theory.bounds import Constants, Nonconvex, StronglyConvex
from anil_tf.theory.flat import flatten, unflatten

COSINE = Constants(
    mu=-1.0, smoothness=1.0, hessian_lipschitz=1.0, mixed_lipschitz=0.0, gradient_bound=1.0
)


def strongly_convex(settings: dict[str, Any]) -> list[Row]:
    """P3: the blocks ww and phiphi of L_meta at N = 1, 4, 16, ... and alpha = 1/L.

    The bound on ww holds for sure: its constants are closed forms of the features. That on phiphi takes constants met
    at points of the inner loop of all tasks, which are lower bounds of the true ones: an estimate. L, of which alpha is
    the inverse, is the larger of the two.

    Args:
        settings: those of `frozen_point` with a linear head, and most_inner_steps.

    Returns:
        Rows with prediction, block ("ww", "phiphi"), inner_steps, measured, bound, alpha and contraction.
    """
    point = frozen_point(settings)
    closed = head_constants(point)
    most = settings["most_inner_steps"]
    sampled, step_size = at_inverse_smoothness(point, closed, steps=most)
    rows = []
    for steps in doubling(most)[::2]:
        learner = point.learner(inner_steps=steps, inner_step_size=step_size)
        of_blocks = {
            "ww": (learner.head_variables, StronglyConvex(closed, step_size, steps).blocks.ww),
            "phiphi": (
                learner.body_variables,
                StronglyConvex(sampled, step_size, steps).blocks.phiphi,
            ),
        }
        for block, (variables, bound) in of_blocks.items():
            gradient, at = gradient_by_block(learner, point, variables)
            rows.append(
                {"prediction": "P3", "block": block, "inner_steps": steps}
                | {"measured": curvature(gradient, at), "bound": bound}
                | {"alpha": step_size, "contraction": 1.0 - step_size * point.l2}
            )
    return rows


def nonconvex(settings: dict[str, Any]) -> list[Row]:
    """P4 on real tasks: the curvature by a two-layer head, alpha fixed at c/L and falling as c/(L N).

    Args:
        settings: those of `frozen_point` with head "two_layer", most_inner_steps, and step (c).

    Returns:
        Rows with prediction, problem ("two_layer"), schedule ("fixed", "falling"), inner_steps, measured, bound. L, rho
        and M are by the head alone, as is what is measured: the features stand still. They are met on the inner loops
        of all tasks at the largest N and alpha = c/L, L being that at the start, so that the bound is an estimate.
    """
    point = frozen_point(settings)
    features = point.features()
    at_start = sampled_head_constants(point, steps=0, step_size=1.0)
    constants = sampled_head_constants(
        point,
        steps=settings["most_inner_steps"],
        step_size=settings["step"] / at_start.smoothness,
    )

    def measure(steps: int, step_size: float) -> float:
        return curvature(*gradient_by_head(point, features, steps, step_size))

    return _of_schedules("two_layer", settings, constants, measure)


def worst_case(settings: dict[str, Any]) -> list[Row]:
    """P4 where it must show: support and query loss cos(w), whose curvature at w = 0 is -L = -1 for good.

    Args:
        settings: most_inner_steps, step (c = alpha L, or alpha L N).

    Returns:
        Rows with prediction, problem ("cosine"), schedule ("fixed", "falling"), inner_steps, measured, bound.
    """
    return _of_schedules("cosine", settings, COSINE, cosine_curvature)


def _of_schedules(
    problem: str,
    settings: dict[str, Any],
    constants: Constants,
    measure: Callable[[int, float], float],
) -> list[Row]:
    rows = []
    for schedule in ("fixed", "falling"):
        for steps in doubling(settings["most_inner_steps"]):
            step_size = settings["step"] / constants.smoothness
            step_size /= steps if schedule == "falling" else 1
            bounds = Nonconvex(constants, step_size, steps)
            rows.append(
                {"prediction": "P4", "problem": problem, "schedule": schedule}
                | {"inner_steps": steps, "alpha": step_size, "growth": bounds.factor}
                | {"measured": measure(steps, step_size), "bound": bounds.blocks.ww}
            )
    return rows


# ---- Gradients of L_meta as functions of a vector [1, P], and where that is now --------------------------------------


def gradient_by_block(
    learner: MetaLearner, point: FrozenPoint, variables: Sequence[keras.Variable]
) -> tuple[Gradient, np.ndarray]:
    """By some variables of a learner."""
    like = _with_axis(variables)
    at = flatten(like).numpy()

    @tf.function
    def compute() -> tf.Tensor:
        inputs, labels = point.inputs, point.query_labels
        return meta_gradient(learner, inputs, labels, {"block": variables})["block"][None]

    def assign(vector: np.ndarray) -> None:
        for variable, part in zip(variables, unflatten(tf.constant(vector), like), strict=True):
            variable.assign(part[0])

    def gradient(vector: np.ndarray) -> np.ndarray:
        assign(vector)
        found = compute().numpy()
        assign(at)
        return found

    return gradient, at


def gradient_by_head(
    point: FrozenPoint, features: tuple[tf.Tensor, tf.Tensor], steps: int, step_size: float
) -> tuple[Gradient, np.ndarray]:
    """By the head alone; the body is not run again."""
    support, queries = features
    problem = point.pose().problem
    like = [part[:1] for part in point.start]

    @tf.function
    def compute(vector: tf.Tensor) -> tf.Tensor:
        head = unflatten(vector, like)
        with tf.GradientTape() as tape:
            tape.watch(head)
            start = [tf.repeat(part, point.tasks, axis=0) for part in head]
            end = point.adapted(problem, start, support, steps, step_size)
            loss = tf.reduce_mean(point.query_loss(end, queries))
        return flatten(tape.gradient(loss, head))

    return lambda vector: compute(tf.constant(vector)).numpy(), flatten(like).numpy()


def _with_axis(tensors: Sequence[Any]) -> Tensors:
    """Tensors as those of one task, [1, ...]."""
    return [tf.convert_to_tensor(tensor)[None] for tensor in tensors]


def cosine_curvature(steps: int, step_size: float) -> float:
    """The largest |d2 L_meta/dw2| of the cosine over 201 starts w from -pi to pi."""
    problem = TapedProblem(lambda w, shared, constants, step: tf.cos(w[0]), (), mode="vectorized")
    start = tf.constant(np.linspace(-np.pi, np.pi, 201))
    with tf.GradientTape() as outer:
        outer.watch(start)
        with tf.GradientTape() as inner:
            inner.watch(start)
            (end,) = unrolled.gradient_descent(
                problem,
                [start],
                [],
                steps=steps,
                step_sizes=[step_size],
                differentiated_steps=steps,
            )
            loss = tf.reduce_sum(tf.cos(end))
        gradient = inner.gradient(loss, start)
    return float(np.max(np.abs(outer.gradient(gradient, start))))
