"""Conjugate gradients against a dense solution, task by task."""

import numpy as np
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from anil_tf.adaptation.conjugate_gradients import conjugate_gradients


@given(tasks=st.integers(1, 4), size=st.integers(1, 6), seed=st.integers(0, 99))
def test_it_solves_every_task(tasks, size, seed):
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=[tasks, size, size])
    matrices = tf.constant(roots @ roots.transpose(0, 2, 1) + 0.5 * np.eye(size))
    right = tf.constant(rng.normal(size=[tasks, size]))
    (solution,) = conjugate_gradients(
        lambda x: [tf.linalg.matvec(matrices, x[0])], [right], tolerance=1e-12, max_iterations=50
    )
    expected = np.linalg.solve(matrices, right[..., None])[..., 0]
    np.testing.assert_allclose(solution, expected, rtol=1e-8, atol=1e-9)


def test_a_task_with_nothing_to_solve_stays_at_zero():
    """And does not spoil the others, as a division of 0 by 0 would."""
    matrices = tf.constant([np.eye(3), np.diag([1.0, 2.0, 3.0])])
    right = tf.constant([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]], tf.float64)
    (solution,) = conjugate_gradients(
        lambda x: [tf.linalg.matvec(matrices, x[0])], [right], tolerance=1e-10, max_iterations=20
    )
    np.testing.assert_allclose(solution, [[0, 0, 0], [1, 1 / 2, 1 / 3]], rtol=1e-9)


def test_it_takes_no_more_products_than_allowed():
    calls = tf.Variable(0)

    def product(x):
        calls.assign_add(1)
        return [tf.constant([1.0, 10.0, 100.0, 1000.0]) * x[0]]

    conjugate_gradients(product, [tf.ones([1, 4])], tolerance=1e-9, max_iterations=2)
    assert int(calls) == 2
