"""The curvature of a function of many numbers, from its gradient.

|H| of the Hessian H is its largest eigenvalue by absolute value. Lanczos finds it from products H v, and these are
central differences of the gradient, in float64: for the meta-loss, no third derivative is ever formed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import keras
import numpy as np
import scipy.sparse.linalg
import tensorflow as tf

from anil_tf.adaptation.problem import Tensors

# The gradient [size] of a function at a point [size].
Gradient = Callable[[np.ndarray], np.ndarray]

_DIFFERENCE = 1e-4  # of central differences, whose relative error is about its square
_TOLERANCE = 1e-2  # of the eigenvalue, relative
_KRYLOV_DIMENSION = 12


def curvature(gradient: Gradient, at: np.ndarray) -> float:
    """The largest absolute eigenvalue of the Hessian of a function at a point.

    Args:
        gradient: of the function.
        at: the point, float64 [size].
    """

    def product(vector: np.ndarray) -> np.ndarray:
        step = _DIFFERENCE * vector.ravel() / np.linalg.norm(vector)
        slope = (gradient(at + step) - gradient(at - step)) / (2 * _DIFFERENCE)
        return slope * np.linalg.norm(vector)

    if len(at) < 4:  # too small for Lanczos
        hessian = np.stack([product(row) for row in np.eye(len(at))])
        return float(np.linalg.norm(hessian, 2))
    operator = scipy.sparse.linalg.LinearOperator([len(at)] * 2, matvec=product, dtype=at.dtype)
    values = scipy.sparse.linalg.eigsh(
        operator,
        k=1,
        which="LM",
        tol=_TOLERANCE,
        ncv=min(_KRYLOV_DIMENSION, len(at)),
        v0=np.random.default_rng(0).normal(size=len(at)),
        return_eigenvectors=False,
    )
    return float(np.abs(values[0]))


def flat(tensors: Tensors) -> tuple[np.ndarray, list[tuple[int, ...]]]:
    """All entries of the tensors in one vector, and their shapes."""
    return joined(tensors).numpy(), [tuple(tensor.shape) for tensor in tensors]


def unflat(vector: tf.Tensor, shapes: list[tuple[int, ...]]) -> Tensors:
    """The tensors of a vector that `flat` made."""
    parts = tf.split(vector, [math.prod(shape) for shape in shapes])
    return [tf.reshape(part, shape) for part, shape in zip(parts, shapes, strict=True)]


def joined(tensors: Tensors) -> tf.Tensor:
    """All entries of the tensors in one."""
    return tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0)


def assign(
    variables: Sequence[keras.Variable], vector: np.ndarray, shapes: list[tuple[int, ...]]
) -> None:
    """Writes a vector that `flat` made into variables."""
    for variable, part in zip(variables, unflat(tf.constant(vector), shapes), strict=True):
        variable.assign(part)
