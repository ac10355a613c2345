"""The curvature of a function of many numbers, from its gradient.

|H| of the Hessian H is its largest eigenvalue by absolute value. Lanczos finds it from products H v, and these are
central differences of the gradient, in float64: for the meta-loss, no third derivative is ever formed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from anil_tf.theory.lanczos import spectral_radius

# The gradient [1, P] of a function at a point [1, P].
Gradient = Callable[[np.ndarray], np.ndarray]

_DIFFERENCE = 1e-4  # of central differences, whose relative error is about its square
_TOLERANCE = 1e-2  # of the eigenvalue, relative


def curvature(gradient: Gradient, at: np.ndarray) -> float:
    """The largest absolute eigenvalue of the Hessian of a function at a point.

    Args:
        gradient: of the function.
        at: the point, float64 [1, P].
    """

    def product(vector: np.ndarray) -> np.ndarray:
        length = np.linalg.norm(vector) or 1.0
        step = _DIFFERENCE * vector / length
        return (gradient(at + step) - gradient(at - step)) * length / (2 * _DIFFERENCE)

    return float(spectral_radius(product, at.shape, tolerance=_TOLERANCE)[0])
