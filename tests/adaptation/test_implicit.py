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
    return lambda start, shared: minimum(
        problem, start, shared, solver=solver, tolerance=tolerance, step_sizes=[0.3, 0.3]
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
    _, problem, start, shared = linear_head(loss)
    end, gradients = derivatives(at_the_minimum(problem, solver), start, shared)
    distances = []
    for steps in (10, 100, 1000):
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


def test_the_start_is_forgotten():
    _, problem, start, shared = linear_head()
    _, gradients = derivatives(at_the_minimum(problem), start, shared)
    for gradient in gradients[: len(start)]:
        np.testing.assert_array_equal(gradient, np.zeros(gradient.shape))
    near, far = (at_the_minimum(problem)([k * part for part in start], shared) for k in (1.0, 30.0))
    assert_close(near, far, rtol=1e-8)


def test_derivatives_equal_central_differences():
    _, problem, start, (features,) = linear_head(l2=0.05)

    def value(features):
        end = at_the_minimum(problem)(start, [features])
        return sum(float(np.sin(part).sum()) for part in end)

    with tf.GradientTape() as tape:
        tape.watch(features)
        end = at_the_minimum(problem)(start, [features])
        total = tf.add_n([tf.reduce_sum(tf.sin(part)) for part in end])
    gradient = tape.gradient(total, features)
    rng = np.random.default_rng(0)
    for _ in range(3):
        direction = rng.normal(size=features.shape)
        slope = (value(features + 1e-5 * direction) - value(features - 1e-5 * direction)) / 2e-5
        assert float(tf.reduce_sum(gradient * direction)) == pytest.approx(slope, rel=1e-6)
