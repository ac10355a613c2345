"""The curvature of a linear head, from the covariance of its features.

With H [n, d], a column of ones in it for the bias, C outputs and S = H^T H / n, the Hessian by w is

    squared error    2 S/C + lambda, for each output, whatever w is
    softmax          sum_i h_i h_i^T x (diag p_i - p_i p_i^T) / n  +  lambda

As no eigenvalue of diag p - p p^T exceeds 1/2, the second lies between lambda and lambda_max(S)/2 + lambda. And it is
lambda everywhere along the row common to all classes, which moves their logits alike and changes no probability.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from anil_tf.adaptation.linear_problem import LinearProblem
from anil_tf.adaptation.problem import Tensors
from anil_tf.theory.flat import size_of


def closed_forms(problem: LinearProblem, start: Tensors, shared: Tensors) -> dict[str, np.ndarray]:
    """Returns the constants that hold for all w at once; see `landscape.Landscape`.

    Args:
        problem: the support losses of B tasks.
        start: w, [W [B, d, C], b [B, C]] or [W]; only the shapes matter.
        shared: the features, [H [B, n, d]].

    Returns:
        strong_convexity and smoothness_bound, float64 [B]; for a squared error, smoothness_head too.
    """
    features = np.asarray(shared[0], np.float64)
    if len(start) > 1:
        features = np.concatenate([features, np.ones_like(features[..., :1])], axis=-1)
    tasks, rows, columns = features.shape
    values = np.linalg.svd(features, compute_uv=False) ** 2 / rows  # descending
    lowest = values[:, -1] if rows >= columns else np.zeros(tasks)
    if _sees_common_row(problem, start, shared):
        share = 2.0 / int(start[0].shape[-1])
        curvature = share * values[:, 0] + problem.l2
        return {
            "strong_convexity": share * lowest + problem.l2,
            "smoothness_head": curvature,
            "smoothness_bound": curvature,
        }
    return {
        "strong_convexity": np.full(tasks, float(problem.l2)),
        "smoothness_bound": values[:, 0] / 2 + problem.l2,
    }


def _sees_common_row(problem: LinearProblem, start: Tensors, shared: Tensors) -> bool:
    """Whether the loss changes when the outputs of all classes move alike, as softmax does not."""
    outputs = tf.zeros([*shared[0].shape[:2], start[0].shape[-1]], shared[0].dtype)
    change = problem.change_of_errors(outputs, tf.ones_like(outputs))
    return bool(tf.reduce_max(tf.abs(change)) > 1e-3 / float(tf.size(outputs[0])))


def without_common_row(like: Tensors) -> Callable[[np.ndarray], np.ndarray]:
    """Projects flat heads [B, P] on those whose rows sum to 0 over the classes."""

    def project(vectors: np.ndarray) -> np.ndarray:
        parts = np.split(vectors, np.cumsum([size_of([part]) for part in like])[:-1], axis=1)
        rows = [part.reshape(part.shape[0], -1, like[0].shape[-1]) for part in parts]
        rows = [row - row.mean(axis=-1, keepdims=True) for row in rows]
        return np.concatenate([row.reshape(row.shape[0], -1) for row in rows], axis=1)

    return project
