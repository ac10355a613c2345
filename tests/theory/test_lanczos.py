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


# Where one task's basis ends early, no eigenvalue 0 comes in from there.
EARLY_AND_LATE = np.stack([3.0 * np.eye(30), np.diag(np.arange(1.0, 31.0))])


@pytest.mark.parametrize(
    "matrices", [symmetric(0, 3, 1), symmetric(0, 3, 20), EARLY_AND_LATE], ids=np.shape
)
def test_both_ends_of_every_tasks_spectrum(matrices):
    low, high = extreme_eigenvalues(times(matrices), matrices.shape[:2], **EXACT)
    dense = np.linalg.eigvalsh(matrices)
    np.testing.assert_allclose([low, high], [dense[:, 0], dense[:, -1]], rtol=1e-10)


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


@pytest.mark.parametrize(("inside", "ends"), [([0, 1, 1, 0], [2, 5]), ([0, 0, 0, 0], [0, 0])])
def test_a_projection_leaves_its_directions_out(inside, ends):
    matrices = np.diag([1.0, 2.0, 5.0, 9.0])[None]
    low, high = extreme_eigenvalues(
        times(matrices), (1, 4), project=lambda vectors: inside * vectors, **EXACT
    )
    np.testing.assert_allclose([low[0], high[0]], ends, rtol=1e-12)


@pytest.mark.parametrize("shape", [(4, 9), (9, 4)])
def test_spectral_norm_of_oblong_matrices(shape):
    matrices = np.random.default_rng(2).normal(size=[3, *shape])
    found = spectral_norm(
        times(matrices), times(np.swapaxes(matrices, 1, 2)), (3, shape[1]), **EXACT
    )
    np.testing.assert_allclose(found, np.linalg.norm(matrices, ord=2, axis=(1, 2)), rtol=1e-10)
