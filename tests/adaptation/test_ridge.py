"""Ridge regression: the minimum of the squared error, where the other engines arrive too."""

import numpy as np
import pytest
import tensorflow as tf

from anil_tf.adaptation import explicit
from anil_tf.adaptation.implicit import minimum
from anil_tf.adaptation.over_tasks import over_tasks
from anil_tf.adaptation.ridge import ridge_regression
from tests.adaptation.problems import ROWS, WAYS, WIDTH, assert_close, linear_head, normal


@pytest.mark.parametrize("width", [2, 20])
def test_it_equals_the_normal_equations(width):
    """(H~^T H~ + r I)^{-1} H~^T Y, in the form that has a matrix of the width of the features."""
    features, targets, l2 = normal(0, ROWS, width), normal(1, ROWS, WAYS), 0.3
    kernel, bias = ridge_regression(features, targets, l2)
    ones = np.concatenate([features, np.ones([ROWS, 1])], axis=1)
    system = ones.T @ ones + l2 * ROWS * WAYS / 2 * np.eye(width + 1)
    expected = np.linalg.solve(system, ones.T @ targets)
    np.testing.assert_allclose(np.concatenate([kernel, bias[None]]), expected, rtol=1e-10)


def test_gradient_descent_on_the_squared_error_ends_there():
    _, problem, start, (features,) = linear_head("squared_error", l2=0.2)
    solve = lambda task: list(ridge_regression(task[0], task[1], 0.2))  # noqa: E731
    closed = over_tasks(solve, (features, problem._targets), mode="vectorized")
    assert closed[0].shape == [3, WIDTH, WAYS]
    descended = explicit.gradient_descent(
        problem, start, [features], steps=2000, step_sizes=[0.3, 0.3], differentiated_steps=0
    )
    sought = minimum(
        problem, start, [features], solver="newton", tolerance=1e-12, step_sizes=[0.3, 0.3]
    )
    assert_close(descended, closed, rtol=1e-9)
    assert_close(sought, closed, rtol=1e-9)


def test_its_derivatives_are_those_of_the_implicit_engine():
    _, problem, start, (features,) = linear_head("squared_error", l2=0.2)
    solve = lambda task: list(ridge_regression(task[0], task[1], 0.2))  # noqa: E731
    ways_to_adapt = [
        lambda: over_tasks(solve, (features, problem._targets), mode="vectorized"),
        lambda: minimum(
            problem, start, [features], solver="newton", tolerance=1e-12, step_sizes=[0.3, 0.3]
        ),
    ]
    gradients = []
    for adapt in ways_to_adapt:
        with tf.GradientTape() as tape:
            tape.watch(features)
            value = tf.add_n([tf.reduce_sum(tf.sin(part)) for part in adapt()])
        gradients.append(tape.gradient(value, features))
    np.testing.assert_allclose(*gradients, rtol=1e-9, atol=1e-12)


def test_a_bias_common_to_all_targets_cancels_in_softmax():
    """Why a ridge head learns no bias: it moves all logits of a query alike, so its gradient is zero."""
    features, targets, queries = normal(0, ROWS, WIDTH), normal(1, ROWS, WAYS), normal(2, 4, WIDTH)

    def logits(offset):
        kernel, bias = ridge_regression(features, targets + offset, 0.3)
        return queries @ kernel + bias

    change = (logits(0.7) - logits(0.0)).numpy()
    assert np.abs(change).max() > 0.1
    np.testing.assert_allclose(change, np.repeat(change[:, :1], WAYS, axis=1), rtol=1e-9)
