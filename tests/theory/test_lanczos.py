"""Extreme eigenvalues and spectral norms from products, against dense ones."""

import numpy as np
import pytest

from anil_tf.theory.lanczos import extreme_eigenvalues, spectral_norm

EXACT = {"tolerance": 1e-12, "iterations": 200}


def symmetric(seed, tasks, size):
    matrices = np.random.default_rng(seed).normal(size=[tasks, size, size])
    return matrices + np.swapaxes(matrices, 1, 2)


def times(matrices):
    return lambda vectors: np.einsum("bij,bj->bi", matrices, vectors)


@pytest.mark.parametrize("size", [1, 2, 7, 40])
def test_both_ends_of_every_tasks_spectrum(size):
    matrices = symmetric(0, 3, size)
    low, high = extreme_eigenvalues(times(matrices), (3, size), **EXACT)
    dense = np.linalg.eigvalsh(matrices)
    np.testing.assert_allclose(low, dense[:, 0], rtol=1e-10)
    np.testing.assert_allclose(high, dense[:, -1], rtol=1e-10)


def test_a_loose_tolerance_takes_few_products_and_stays_inside_the_spectrum():
    matrices, counts = symmetric(1, 2, 200), []

    def counted(vectors):
        counts.append(1)
        return times(matrices)(vectors)

    low, high = extreme_eigenvalues(counted, (2, 200), tolerance=1e-2)
    dense = np.linalg.eigvalsh(matrices)
    assert len(counts) < 64
    assert np.all(dense[:, 0] <= low + 1e-9) and np.all(high <= dense[:, -1] + 1e-9)
    np.testing.assert_allclose(high, dense[:, -1], rtol=1e-3)


def test_tasks_whose_bases_end_early_keep_their_own_eigenvalues():
    """Rank one beside full rank: no eigenvalue 0 comes in from where a basis has ended."""
    matrices = np.stack([3.0 * np.eye(30), np.diag(np.arange(1.0, 31.0))])
    low, high = extreme_eigenvalues(times(matrices), (2, 30), **EXACT)
    np.testing.assert_allclose(low, [3, 1], rtol=1e-10)
    np.testing.assert_allclose(high, [3, 30], rtol=1e-10)


def test_a_projection_leaves_its_directions_out():
    matrices = np.diag([1.0, 2.0, 5.0, 9.0])[None]
    inside = np.array([0.0, 1.0, 1.0, 0.0])
    low, high = extreme_eigenvalues(
        times(matrices), (1, 4), project=lambda vectors: inside * vectors, **EXACT
    )
    np.testing.assert_allclose([low[0], high[0]], [2, 5], rtol=1e-12)


def test_an_empty_subspace_has_eigenvalue_0():
    ends = extreme_eigenvalues(lambda v: v, (2, 4), project=np.zeros_like)
    np.testing.assert_array_equal(ends, np.zeros([2, 2]))


@pytest.mark.parametrize("shape", [(4, 9), (9, 4)])
def test_spectral_norm_of_oblong_matrices(shape):
    matrices = np.random.default_rng(2).normal(size=[3, *shape])
    found = spectral_norm(
        times(matrices), times(np.swapaxes(matrices, 1, 2)), (3, shape[1]), **EXACT
    )
    np.testing.assert_allclose(found, np.linalg.norm(matrices, ord=2, axis=(1, 2)), rtol=1e-10)
