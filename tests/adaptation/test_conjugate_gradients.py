"""Conjugate gradients against a dense solution, task by task."""

import numpy as np
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from anil_tf.adaptation.conjugate_gradients import conjugate_gradients


@given(tasks=st.integers(1, 4), size=st.integers(1, 6), seed=st.integers(0, 99))
def test_it_solves_every_task(tasks, size, seed):
    """One with nothing to solve among them, which stays at zero and spoils no other by a division of 0 by 0."""
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=[tasks, size, size])
    matrices = tf.constant(roots @ roots.transpose(0, 2, 1) + 0.5 * np.eye(size))
    right = tf.constant(rng.normal(size=[tasks, size]) * (np.arange(tasks) > 0)[:, None])
    (solution,) = conjugate_gradients(
        lambda x: [tf.linalg.matvec(matrices, x[0])], [right], tolerance=1e-12, max_iterations=50
    )
    expected = np.linalg.solve(matrices, right[..., None])[..., 0]
    np.testing.assert_allclose(solution, expected, rtol=1e-8, atol=1e-9)


def test_it_takes_no_more_products_than_allowed():
    calls = tf.Variable(0)

    def product(x):
        calls.assign_add(1)
        return [tf.constant([1.0, 10.0, 100.0, 1000.0]) * x[0]]

    conjugate_gradients(product, [tf.ones([1, 4])], tolerance=1e-9, max_iterations=2)
    assert int(calls) == 2
