"""Curvature from gradients, on functions whose Hessian is known."""

import numpy as np
import pytest

from anil_tf.study.measurements.curvature import curvature


@pytest.mark.parametrize("size", [1, 2, 3, 8, 60])
@pytest.mark.parametrize("largest", [5.0, -5.0])
def test_largest_absolute_eigenvalue_of_a_quadratic(size, largest):
    values = np.linspace(-2, 2, size)
    values[0] = largest
    basis, _ = np.linalg.qr(np.random.default_rng(0).normal(size=[size, size]))
    hessian = basis @ np.diag(values) @ basis.T
    at = np.random.default_rng(1).normal(size=[1, size])
    assert curvature(lambda x: x @ hessian, at) == pytest.approx(5.0, rel=0.02)


def test_curvature_where_it_changes():
    at = np.array([[0.3, -0.7, 0.1, 1.1, 0.5]])
    measured = curvature(lambda x: x**3, at)  # of x^4/4
    assert measured == pytest.approx(3 * 1.1**2, rel=1e-2)
