"""P1 and P2: how adaptation forgets where it started.

P1: two heads that adapt to the same task come closer by a factor q = 1 - alpha mu in each step, or more. Three ways to
choose the second head: "random" (a normal change of the first), "seen" (a change that the support sees: a combination
of its features, classes summing to zero) and "common" (the same row for all classes, which softmax cancels, so that
only lambda pulls it back: here the bound is attained).

P2: hence the meta-gradient of the head is at most M q^N.

The body stands still in both, so that they must hold for any body: what the head sees is a convex problem on fixed
features, and the kinks of ReLU and batch normalisation lie below it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from anil_tf.adaptation.problem import InnerProblem, Tensors
from anil_tf.adaptation.unrolled import descend
from anil_tf.study.measurements.constants import head_constants
from anil_tf.study.measurements.frozen_point import FrozenPoint, doubling, frozen_point
from anil_tf.theory.bounds import StronglyConvex

STARTS = ("random", "seen", "common")


def run(settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Measures both at N = 1, 2, 4, ... and alpha = 1/L, L being the closed-form upper bound.

    Args:
        settings: those of `frozen_point` with a linear head, and most_inner_steps.

    Returns:
        Rows with prediction, start (P1), inner_steps, measured (the largest over tasks) and bound; alpha, smoothness
        and contraction (q) in each.
    """
    point = frozen_point(settings)
    support, queries = point.features()
    problem = point.pose().problem
    constants = head_constants(point)
    step_size = 1.0 / constants.smoothness
    steps = doubling(settings["most_inner_steps"])
    bounds = {n: StronglyConvex(constants, step_size, n) for n in steps}
    shared = {
        "alpha": step_size,
        "smoothness": constants.smoothness,
        "contraction": 1.0 - step_size * point.l2,
    }
    rows = []
    for start in STARTS:
        change = other_start(start, point.start, support, seed=settings["seed"])
        found = distances(problem, point.start, change, support, step_size, steps)
        rows += [
            {"prediction": "P1", "start": start, "inner_steps": n, "measured": found[n]}
            | {"bound": bounds[n].trajectory(1.0, 0.0)}
            for n in steps
        ]
    rows += [
        {"prediction": "P2", "inner_steps": n, "bound": bounds[n].head_gradient}
        | {"measured": head_gradient(point, support, queries, step_size, n)}
        for n in steps
    ]
    return [row | shared for row in rows]


def other_start(kind: str, start: Tensors, features: tf.Tensor, *, seed: int) -> Tensors:
    """A change of w_0 = [W [B, d, C], b [B, C]] of norm 1 for each task; see the head of this file."""
    generator = np.random.default_rng(seed)
    tasks, width, ways = start[0].shape
    if kind == "random":
        change = [generator.normal(size=part.shape) for part in start]
    elif kind == "seen":
        outputs = generator.normal(size=[tasks, features.shape[1], ways])
        outputs -= outputs.mean(axis=-1, keepdims=True)
        change = [np.swapaxes(features, 1, 2) @ outputs, outputs.sum(axis=1)]
    elif kind == "common":
        row = generator.normal(size=[tasks, width, 1])
        change = [np.repeat(row, ways, axis=-1), np.ones([tasks, ways])]
    else:
        raise ValueError(f"start must be one of {', '.join(STARTS)}. Received: {kind!r}.")
    lengths = _lengths(change)
    return [
        tf.constant(part / lengths.reshape([-1] + [1] * (part.ndim - 1)), start[0].dtype)
        for part in change
    ]


def distances(
    problem: InnerProblem,
    start: Tensors,
    change: Tensors,
    features: tf.Tensor,
    step_size: float,
    steps: list[int],
) -> dict[int, float]:
    """|w_N - w'_N| / |w_0 - w'_0| for each N in `steps`, the largest over tasks."""

    @tf.function
    def step(w: Tensors) -> Tensors:
        return descend(w, problem.gradient(w, [features], 0), [step_size] * len(w))

    here, there = list(start), [part + moved for part, moved in zip(start, change, strict=True)]
    first = _lengths(change)
    found = {}
    for number in range(1, max(steps) + 1):
        here, there = step(here), step(there)
        if number in steps:
            apart = _lengths([a - b for a, b in zip(here, there, strict=True)])
            found[number] = float(np.max(apart / first))
    return found


def head_gradient(
    point: FrozenPoint, support: tf.Tensor, queries: tf.Tensor, step_size: float, steps: int
) -> float:
    """|dL_D(w_N)/dw_0|, the largest over tasks, by Proposition 1."""
    problem = point.pose().problem

    @tf.function
    def gradient(start: Tensors) -> Tensors:
        with tf.GradientTape() as tape:
            tape.watch(start)
            end = point.adapted(problem, start, support, steps, step_size)
            loss = tf.reduce_sum(point.query_loss(end, queries))
        return tape.gradient(loss, start)

    return float(np.max(_lengths(gradient(point.start))))


def _lengths(tensors: Tensors | list[np.ndarray]) -> np.ndarray:
    """Euclidean norm of the tensors of each task, all together; [B]."""
    squares = [np.square(np.asarray(t)).reshape(len(t), -1).sum(axis=1) for t in tensors]
    return np.sqrt(np.sum(squares, axis=0))
