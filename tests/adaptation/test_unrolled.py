"""The written-out inner loop, against closed forms."""

import numpy as np
import pytest
import tensorflow as tf

from anil_tf.adaptation import unrolled
from anil_tf.adaptation.problem import TapedProblem


def gradient_descent(loss, start, size, steps, reach):
    """From `start`, one tensor of one task."""
    problem = TapedProblem(loss, (), mode="unrolled")
    (end,) = unrolled.gradient_descent(
        problem, [start], [], steps=steps, step_sizes=[size], differentiated_steps=reach
    )
    return end


def quadratic(curvature):
    return lambda w, s, c, m: 0.5 * tf.reduce_sum(curvature * w[0] ** 2)


@pytest.mark.parametrize(("steps", "reach"), [(0, 0), (10, 10), (3, 0), (3, 2)])
def test_quadratic_has_closed_form(steps, reach):
    """dw_N/dw_0 is (1 - alpha c)^reach: a factor of 1 for each step that is not differentiated through."""
    curvature = tf.constant([0.5, 1.0, 3.0], tf.float64)
    start = tf.constant([[1.0, -2.0, 0.5]], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(start)
        end = gradient_descent(quadratic(curvature), start, 0.1, steps, reach)
    factor = 1 - 0.1 * curvature
    np.testing.assert_allclose(end, factor**steps * start, rtol=1e-14)
    np.testing.assert_allclose(tape.gradient(end, start)[0], factor**reach, rtol=1e-14)


def test_step_sizes_broadcast_and_are_learned():
    start = tf.constant([[[1.0, 2.0], [3.0, 4.0]]], tf.float64)
    sizes = tf.constant([[0.1], [0.2]], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(sizes)
        end = gradient_descent(quadratic(1.0), start, sizes, 1, 1)
    np.testing.assert_allclose(end, start * (1 - sizes), rtol=1e-14)
    np.testing.assert_allclose(tape.gradient(end, sizes), [[-3.0], [-7.0]], rtol=1e-14)


def test_loss_is_told_the_step():
    seen = []

    def loss(adapted, shared, constants, step):
        seen.append(step)
        return tf.reduce_sum(adapted[0])

    gradient_descent(loss, tf.ones([1, 2]), 1.0, 3, 3)
    assert seen == [0, 1, 2]
