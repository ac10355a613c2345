"""The closed forms of a linear head beyond their equality with tapes, which test_problem.py asks for."""

import numpy as np
import tensorflow as tf

from anil_tf.adaptation.linear_problem import LinearProblem, linear
from tests.adaptation.problems import TASKS, linear_head, normal


def test_the_hessian_is_symmetric_and_at_least_lambda():
    """Lambda-strong convexity: <v, H v> >= lambda |v|^2, and <u, H v> = <v, H u>."""
    _, problem, point, features = linear_head(l2=0.2)
    for seed in range(5):
        u, v = ([normal(seed * 10 + k + i, *p.shape) for i, p in enumerate(point)] for k in (0, 5))
        of_u, of_v = (problem.products(point, features, 0, w)[0] for w in (u, v))
        inner = lambda a, b: sum(float(tf.reduce_sum(x * y)) for x, y in zip(a, b, strict=True))  # noqa: E731
        np.testing.assert_allclose(inner(u, of_v), inner(v, of_u), rtol=1e-12)
        assert inner(v, of_v) >= 0.2 * inner(v, v)


def test_a_row_common_to_all_classes_has_curvature_lambda():
    _, problem, point, features = linear_head(l2=0.2)
    common = [tf.repeat(normal(i, *p.shape)[..., :1], p.shape[-1], -1) for i, p in enumerate(point)]
    product, _ = problem.products(point, features, 0, common)
    for part, vector in zip(product, common, strict=True):
        np.testing.assert_allclose(part, 0.2 * vector, atol=1e-14)


def test_largest_range_is_that_of_the_outputs():
    _, problem, point, features = linear_head()
    outputs = linear(features[0], point)
    expected = np.max(np.ptp(outputs, axis=-1), axis=-1)
    np.testing.assert_allclose(problem.largest_range(features, point), expected, rtol=1e-14)
    squared = LinearProblem(tf.zeros([TASKS, 6, 3], tf.float64), loss="squared_error", l2=0.1)
    np.testing.assert_array_equal(squared.largest_range(features, point), np.zeros(TASKS))


def test_any_number_of_rows_and_ways_will_do():
    """Sizes known at run time only, as when a saved learner meets a new task."""
    _, problem, point, features = linear_head(l2=0.2)
    specs = [tf.TensorSpec([None] * part.shape.rank, part.dtype) for part in (*point, *features)]
    targets = problem._targets

    @tf.function(input_signature=[*specs, tf.TensorSpec([None, None, None], tf.float64)])
    def gradient(kernel, bias, features, targets):
        made = LinearProblem(targets, loss="cross_entropy", l2=0.2)
        return made.gradient([kernel, bias], [features])

    for a, b in zip(
        gradient(*point, *features, targets), problem.gradient(point, features), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-12)
