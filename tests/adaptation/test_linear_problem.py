"""The closed forms of a linear head, against tapes."""

import numpy as np
import pytest
import tensorflow as tf

from anil_tf.adaptation.linear_problem import LinearProblem, linear
from tests.adaptation.problems import assert_close, linear_head, normal


@pytest.mark.parametrize(
    ("loss", "l2", "bias"),
    [
        ("cross_entropy", 0.0, False),
        ("cross_entropy", 0.3, True),
        ("squared_error", 0.0, True),
        ("squared_error", 0.3, False),
    ],
)
def test_gradient_and_products_equal_the_tapes(loss, l2, bias):
    taped, closed, *point = linear_head(loss, l2, bias)
    vector = [normal(7 + i, *part.shape) for i, part in enumerate(point[0])]
    one, other = ([p.gradient(*point, 0), p.products(*point, 0, vector)] for p in (closed, taped))
    assert_close(one, other, rtol=1e-12)


def test_largest_range_is_that_of_the_outputs():
    """By it Newton's steps are damped; for squared errors there is nothing to damp."""
    _, problem, point, features = linear_head()
    expected = np.max(np.ptp(linear(features[0], point), axis=-1), axis=-1)
    np.testing.assert_allclose(problem.largest_range(features, point), expected, rtol=1e-14)
    assert not np.any(linear_head("squared_error")[1].largest_range(features, point))


def test_any_number_of_rows_and_ways_will_do():
    """Sizes known at run time only, as when a saved learner meets a new task."""
    _, problem, point, features = linear_head(l2=0.2)
    arguments = [*point, *features, problem._targets]
    specs = [tf.TensorSpec([None] * part.shape.rank, part.dtype) for part in arguments]

    @tf.function(input_signature=specs)
    def gradient(kernel, bias, features, targets):
        made = LinearProblem(targets, loss="cross_entropy", l2=0.2)
        return made.gradient([kernel, bias], [features])

    assert_close(gradient(*arguments), problem.gradient(point, features), rtol=1e-12)
