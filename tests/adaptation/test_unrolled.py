"""The written-out inner loop, against closed forms."""

import numpy as np
import pytest
import tensorflow as tf

from anil_tf.adaptation.problem import TapedProblem
from anil_tf.adaptation.unrolled import gradient_descent


def quadratic(curvature):
    """One task with loss <w, curvature * w> / 2."""
    loss = lambda w, s, c, m: 0.5 * tf.reduce_sum(curvature * w[0] ** 2)  # noqa: E731
    return TapedProblem(loss, (), mode="unrolled")


@pytest.mark.parametrize(("steps", "reach"), [(0, 0), (1, 1), (10, 10), (3, 0), (3, 2)])
def test_quadratic_has_closed_form(steps, reach):
    """dw_N/dw_0 is (1 - alpha c)^reach: a factor of 1 for each step that is not differentiated through."""
    curvature = tf.constant([0.5, 1.0, 3.0], tf.float64)
    start = tf.constant([[1.0, -2.0, 0.5]], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(start)
        (end,) = gradient_descent(
            quadratic(curvature),
            [start],
            [],
            steps=steps,
            step_sizes=[0.1],
            differentiated_steps=reach,
        )
    factor = 1 - 0.1 * curvature
    np.testing.assert_allclose(end, factor**steps * start, rtol=1e-14)
    np.testing.assert_allclose(tape.gradient(end, start)[0], factor**reach, rtol=1e-14)


def test_step_sizes_broadcast_and_are_learned():
    start = tf.constant([[[1.0, 2.0], [3.0, 4.0]]], tf.float64)
    sizes = tf.constant([[0.1], [0.2]], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(sizes)
        (end,) = gradient_descent(
            quadratic(1.0), [start], [], steps=1, step_sizes=[sizes], differentiated_steps=1
        )
    np.testing.assert_allclose(end, start * (1 - sizes), rtol=1e-14)
    np.testing.assert_allclose(tape.gradient(end, sizes), [[-3.0], [-7.0]], rtol=1e-14)


def test_loss_is_told_the_step():
    seen = []

    def loss(adapted, shared, constants, step):
        seen.append(step)
        return tf.reduce_sum(adapted[0])

    gradient_descent(
        TapedProblem(loss, (), mode="unrolled"),
        [tf.ones([1, 2])],
        [],
        steps=3,
        step_sizes=[1.0],
        differentiated_steps=3,
    )
    assert seen == [0, 1, 2]
