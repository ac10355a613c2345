"""The implicit engine: its minimum is one, and its derivatives are the limit of Proposition 1."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from anil_tf.adaptation import explicit
from anil_tf.adaptation.conjugate_gradients import dot
from anil_tf.adaptation.implicit import SOLVERS, minimum
from tests.adaptation.problems import assert_close, derivatives, linear_head


def at_the_minimum(problem, solver="newton", tolerance=1e-11):
    return functools.partial(
        minimum, problem, solver=solver, tolerance=tolerance, step_sizes=[0.3, 0.3]
    )


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_gradient_vanishes_there(solver):
    _, problem, start, shared = linear_head()
    for tolerance in (1e-3, 1e-9):
        end = at_the_minimum(problem, solver, tolerance)(start, shared)
        gradient = problem.gradient(end, shared)
        assert np.all(np.sqrt(dot(gradient, gradient)) <= tolerance)


@pytest.mark.parametrize(
    ("loss", "solver"), [("cross_entropy", "newton"), ("squared_error", "gradient_descent")]
)
def test_it_is_the_limit_of_the_explicit_engine(solver, loss):
    """Value and derivatives; and the gradient by the start, which is forgotten, is zero."""
    _, problem, start, shared = linear_head(loss, l2=1.0)
    end, gradients = derivatives(at_the_minimum(problem, solver), start, shared)
    for gradient in gradients[: len(start)]:
        np.testing.assert_array_equal(gradient, np.zeros(gradient.shape))
    distances = []
    for steps in (5, 25, 80):
        explicitly = functools.partial(
            explicit.gradient_descent,
            problem,
            steps=steps,
            step_sizes=[0.3, 0.3],
            differentiated_steps=steps,
        )
        reached, slopes = derivatives(explicitly, start, shared)
        pairs = zip([*end, *gradients], [*reached, *slopes], strict=True)
        distances.append(max(float(np.abs(a - b).max()) for a, b in pairs))
    assert distances[0] > 100 * distances[1] or distances[1] < 1e-9
    assert distances[2] < 1e-9


def test_newton_arrives_from_far_away():
    """Where a full step would overshoot."""
    _, problem, start, shared = linear_head()
    run = tf.function(at_the_minimum(problem))
    near, far = (run([k * part for part in start], shared) for k in (1.0, 30.0))
    assert_close(near, far, rtol=1e-8)
