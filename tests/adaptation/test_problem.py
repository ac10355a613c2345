"""Derivatives of the inner problem by tapes."""

import numpy as np
import pytest
import tensorflow as tf

from anil_tf.adaptation.problem import TapedProblem
from tests.adaptation.problems import TASKS, normal, two_layer_head


def a_problem_and_its_products():
    problem, adapted, shared = two_layer_head(l2=0.1)
    vector = [normal(7 + i, *part.shape) for i, part in enumerate(adapted)]
    return problem, adapted, shared, vector, problem.products(adapted, shared, 0, vector)


def test_products_are_slopes_of_the_gradient():
    """H v and J v against central differences of <g, v>, for a head that is not linear."""
    problem, adapted, shared, vector, (hessian, mixed) = a_problem_and_its_products()
    step = [1e-5 * normal(20 + i, *part.shape) for i, part in enumerate([*adapted, *shared])]

    def along(tensors):
        gradient = problem.gradient(tensors[: len(adapted)], tensors[len(adapted) :], 0)
        return sum(tf.reduce_sum(g * v) for g, v in zip(gradient, vector, strict=True))

    for i, product in enumerate([*hessian, *mixed]):
        up, down = (
            along([part + (j == i) * sign * step[j] for j, part in enumerate([*adapted, *shared])])
            for sign in (1, -1)
        )
        slope = float(up - down) / 2
        assert float(tf.reduce_sum(product * step[i])) == pytest.approx(slope, rel=1e-6)


def test_a_task_does_not_see_the_others():
    problem, *point, before = a_problem_and_its_products()
    others = lambda part: tf.concat([part[:1], part[1:] + 1.0], axis=0)  # noqa: E731
    adapted, shared, vector = tf.nest.map_structure(others, point)
    after = problem.products(adapted, shared, 0, vector)
    for a, b in zip(tf.nest.flatten(before), tf.nest.flatten(after), strict=True):
        np.testing.assert_array_equal(a[0], b[0])
        assert np.abs(a[1:] - b[1:]).max() > 1e-6


@pytest.mark.parametrize("mode", ["vectorized", "loop", "unrolled"])
def test_a_tensor_the_loss_cannot_see_gets_zeros(mode):
    problem = TapedProblem(lambda w, s, c, m: tf.reduce_sum(w[0] ** 2), (), mode=mode)
    adapted, shared = [tf.ones([TASKS, 2]), tf.ones([TASKS, 3])], [tf.ones([TASKS, 1])]
    np.testing.assert_array_equal(problem.gradient(adapted, shared, 0)[1], np.zeros([TASKS, 3]))
    hessian, mixed = problem.products(adapted, shared, 0, adapted)
    np.testing.assert_array_equal(hessian[0], 2 * np.ones([TASKS, 2]))
    np.testing.assert_array_equal(mixed[0], np.zeros([TASKS, 1]))
