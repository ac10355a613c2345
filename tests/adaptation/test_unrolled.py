"""The written-out inner loop, against closed forms and finite differences."""

import numpy as np
import pytest
import tensorflow as tf

from anil_tf.adaptation.losses import cross_entropy, half_squared_norm, squared_error
from anil_tf.adaptation.unrolled import gradient_descent


def quadratic(curvature):
    return lambda tensors, step: 0.5 * tf.reduce_sum(curvature * tensors[0] ** 2)


@pytest.mark.parametrize("steps", [0, 1, 3, 10])
def test_quadratic_has_closed_form(steps):
    curvature = tf.constant([0.5, 1.0, 3.0], tf.float64)
    start = tf.constant([1.0, -2.0, 0.5], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(start)
        (end,) = gradient_descent(quadratic(curvature), [start], steps=steps, step_sizes=[0.1])
    factor = (1 - 0.1 * curvature) ** steps
    np.testing.assert_allclose(end, factor * start, rtol=1e-14)
    np.testing.assert_allclose(tape.gradient(end, start), factor, rtol=1e-14)


def test_first_order_drops_the_hessian():
    start = tf.constant([1.0, -2.0], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(start)
        (end,) = gradient_descent(
            quadratic(tf.constant(2.0, tf.float64)),
            [start],
            steps=3,
            step_sizes=[0.1],
            first_order=True,
        )
    np.testing.assert_allclose(end, 0.8**3 * start, rtol=1e-14)
    np.testing.assert_array_equal(tape.gradient(end, start), [1.0, 1.0])


def test_step_sizes_broadcast_and_are_learned():
    start = tf.constant([[1.0, 2.0], [3.0, 4.0]], tf.float64)
    sizes = tf.constant([[0.1], [0.2]], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(sizes)
        (end,) = gradient_descent(quadratic(1.0), [start], steps=1, step_sizes=[sizes])
    np.testing.assert_allclose(end, start * (1 - sizes), rtol=1e-14)
    np.testing.assert_allclose(tape.gradient(end, sizes), [[-3.0], [-7.0]], rtol=1e-14)


def test_loss_is_told_the_step():
    seen = []

    def loss(tensors, step):
        seen.append(step)
        return tf.reduce_sum(tensors[0])

    gradient_descent(loss, [tf.ones([2])], steps=3, step_sizes=[1.0])
    assert seen == [0, 1, 2]


def test_a_tensor_the_loss_cannot_see_stays():
    moved, stayed = gradient_descent(
        lambda tensors, step: tf.reduce_sum(tensors[0]),
        [tf.ones([2]), tf.ones([3])],
        steps=2,
        step_sizes=[0.5, 0.5],
    )
    np.testing.assert_array_equal(moved, [0.0, 0.0])
    np.testing.assert_array_equal(stayed, [1.0, 1.0, 1.0])


def test_losses_are_means_over_rows():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=[7, 3]), rng.integers(0, 3, size=7)
    log_sum = np.log(np.exp(logits).sum(1))
    expected = np.mean(log_sum - logits[np.arange(7), labels])
    np.testing.assert_allclose(cross_entropy(tf.constant(logits), labels), expected, rtol=1e-12)
    targets = rng.normal(size=[7, 3])
    np.testing.assert_allclose(
        squared_error(tf.constant(logits), targets), np.mean((logits - targets) ** 2), rtol=1e-12
    )


def test_half_squared_norm_is_squared_and_halved():
    value = half_squared_norm([tf.constant([3.0, 4.0]), tf.constant([[2.0]])])
    assert float(value) == pytest.approx(0.5 * (9 + 16 + 4))
