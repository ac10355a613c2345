"""A linear head in the span of its support, against the same in its own coordinates."""

import pytest
import tensorflow as tf

from anil_tf.adaptation import explicit, span_problem
from anil_tf.adaptation.linear_problem import LinearProblem
from tests.adaptation.problems import assert_close, derivatives, linear_head


@pytest.mark.parametrize(
    ("loss", "bias", "l2", "steps"),
    [
        ("cross_entropy", True, 0.4, 5),
        ("cross_entropy", False, 0.0, 1),
        ("squared_error", True, 0.0, 5),
        ("cross_entropy", True, 0.4, 0),
    ],
)
def test_it_equals_the_explicit_engine(loss, bias, l2, steps):
    """The adapted head, and its derivatives by the start and the features."""
    _, problem, start, shared = linear_head(loss, l2, bias)

    def in_the_span(start, shared):
        return span_problem.gradient_descent(problem, start, shared[0], steps=steps, step_size=0.3)

    def in_its_own_coordinates(start, shared):
        sizes = [0.3] * len(start)
        return explicit.gradient_descent(
            problem, start, shared, steps=steps, step_sizes=sizes, differentiated_steps=steps
        )

    one, other = (
        derivatives(adapt, start, shared) for adapt in (in_the_span, in_its_own_coordinates)
    )
    assert_close(one, other, rtol=1e-10)


def test_no_operation_of_a_step_is_as_wide_as_the_features():
    """A step costs n * n * classes multiplications for each task, whatever the width."""
    tasks, rows, width, ways = 2, 3, 11, 4
    with tf.Graph().as_default() as graph:
        shapes = ([tasks, rows, width], [tasks, width, ways], [tasks, ways], [tasks, rows, ways])
        features, *start, targets = (tf.compat.v1.placeholder(tf.float32, s) for s in shapes)
        problem = LinearProblem(targets, loss="cross_entropy", l2=0.1)

        def wide_operations(steps):
            before = set(graph.get_operations())
            end = span_problem.gradient_descent(
                problem, start, features, steps=steps, step_size=0.3
            )
            tf.gradients([tf.reduce_sum(part**2) for part in end], [features, *start])
            made = [op for op in graph.get_operations() if op not in before]
            return sum(width in tuple(t.shape) for op in made for t in op.outputs if t.shape.rank)

        assert wide_operations(1) == wide_operations(7)
