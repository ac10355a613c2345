"""Derivatives of the inner problem, by tapes and in closed form."""

import numpy as np
import pytest
import tensorflow as tf

from anil_tf.adaptation.problem import TapedProblem
from tests.adaptation.problems import TASKS, assert_close, linear_head, normal, two_layer_head

HEADS = [
    pytest.param("cross_entropy", 0.0, True, id="cross_entropy"),
    pytest.param("cross_entropy", 0.3, True, id="cross_entropy, l2"),
    pytest.param("cross_entropy", 0.3, False, id="cross_entropy, no bias"),
    pytest.param("squared_error", 0.0, True, id="squared_error"),
    pytest.param("squared_error", 0.3, False, id="squared_error, l2, no bias"),
]


@pytest.mark.parametrize(("loss", "l2", "bias"), HEADS)
def test_the_closed_form_equals_the_tapes(loss, l2, bias):
    taped, closed, adapted, shared = linear_head(loss, l2, bias)
    vector = [normal(7 + i, *part.shape) for i, part in enumerate(adapted)]
    assert_close(
        closed.gradient(adapted, shared, 0), taped.gradient(adapted, shared, 0), rtol=1e-12
    )
    assert_close(
        closed.products(adapted, shared, 0, vector),
        taped.products(adapted, shared, 0, vector),
        rtol=1e-12,
    )


def test_products_are_slopes_of_the_gradient():
    """H v and J v against central differences of <g, v>, for a head that is not linear."""
    problem, adapted, shared = two_layer_head(l2=0.1)
    vector = [normal(7 + i, *part.shape) for i, part in enumerate(adapted)]
    hessian, mixed = problem.products(adapted, shared, 0, vector)

    def along(adapted, shared):
        gradient = problem.gradient(adapted, shared, 0)
        return sum(tf.reduce_sum(g * v) for g, v in zip(gradient, vector, strict=True))

    for tensors, products in ((adapted, hessian), (shared, mixed)):
        for i, product in enumerate(products):
            step = 1e-5 * normal(20 + i, *product.shape)
            moved = [
                [part + sign * step if j == i else part for j, part in enumerate(tensors)]
                for sign in (1, -1)
            ]
            both = [along(m, shared) if tensors is adapted else along(adapted, m) for m in moved]
            slope = float(both[0] - both[1]) / 2
            assert float(tf.reduce_sum(product * step)) == pytest.approx(slope, rel=1e-6)


def test_a_task_does_not_see_the_others():
    problem, adapted, shared = two_layer_head()
    vector = [normal(7 + i, *part.shape) for i, part in enumerate(adapted)]
    before = problem.products(adapted, shared, 0, vector)
    others = lambda part: tf.concat([part[:1], part[1:] + 1.0], axis=0)  # noqa: E731
    adapted, shared, vector = tf.nest.map_structure(others, (adapted, shared, vector))
    after = problem.products(adapted, shared, 0, vector)
    for a, b in zip(tf.nest.flatten(before), tf.nest.flatten(after), strict=True):
        np.testing.assert_array_equal(a[0], b[0])
        assert np.abs(a[1:] - b[1:]).max() > 1e-6


@pytest.mark.parametrize("mode", ["vectorized", "loop", "unrolled"])
def test_a_tensor_the_loss_cannot_see_gets_zeros(mode):
    problem = TapedProblem(lambda w, s, c, m: tf.reduce_sum(w[0] ** 2), (), mode=mode)
    adapted = [tf.ones([TASKS, 2]), tf.ones([TASKS, 3])]
    gradient = problem.gradient(adapted, [tf.ones([TASKS, 1])], 0)
    np.testing.assert_array_equal(gradient[1], np.zeros([TASKS, 3]))
    hessian, mixed = problem.products(adapted, [tf.ones([TASKS, 1])], 0, adapted)
    np.testing.assert_array_equal(hessian[0], 2 * np.ones([TASKS, 2]))
    np.testing.assert_array_equal(mixed[0], np.zeros([TASKS, 1]))
