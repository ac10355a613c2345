"""Proposition 1 by its recursion, against tapes."""

import functools

import pytest
import tensorflow as tf

from anil_tf.adaptation import explicit, unrolled
from anil_tf.adaptation.linear_problem import LinearProblem
from anil_tf.adaptation.problem import TapedProblem
from tests.adaptation.problems import (
    ROWS,
    TASKS,
    WAYS,
    WIDTH,
    assert_close,
    derivatives,
    linear_head,
    normal,
    two_layer_head,
)

STEPS = 4


def adapt(engine, problem, sizes, reach=STEPS):
    return functools.partial(
        engine.gradient_descent,
        problem,
        steps=STEPS,
        step_sizes=sizes,
        differentiated_steps=reach,
    )


def convex(loss="cross_entropy"):
    return linear_head(loss)[1:]


def taped():
    taped, _, start, shared = linear_head()
    return taped, start, shared


SIZES = {
    "fixed": lambda shape: 0.3,
    "scalar": lambda shape: tf.constant(0.3, tf.float64),
    "per class": lambda shape: 0.3 + 0.01 * normal(5, *shape[:-1], 1),  # shared by the columns
    "per entry": lambda shape: 0.3 + 0.01 * normal(5, *shape),
}


@pytest.mark.parametrize(
    ("pose", "kind", "reach"),
    [
        (convex, "fixed", STEPS),
        (convex, "per entry", STEPS - 1),
        (functools.partial(convex, "squared_error"), "per class", STEPS),
        (taped, "scalar", 0),
        (two_layer_head, "scalar", STEPS),
        (two_layer_head, "per entry", 1),
    ],
)
def test_it_equals_the_unrolled_engine(pose, kind, reach):
    """Value and derivatives by w_0, features and step sizes, to 1e-10; exact, truncated and first order.

    Step sizes are learned all the same: stopping the gradients of early steps does not stop what they multiply.
    """
    problem, start, shared = pose()
    sizes = [SIZES[kind](part.shape[1:]) for part in start]
    learned = [size for size in sizes if tf.is_tensor(size)]

    def computed(engine):
        return derivatives(adapt(engine, problem, sizes, reach), start, shared, learned)

    # Tapes are slow outside a graph, closed forms inside.
    compute = tf.function(computed) if isinstance(problem, TapedProblem) else computed
    assert_close(compute(explicit), compute(unrolled), rtol=1e-10)


def test_it_can_be_differentiated_again():
    """Second derivatives of the meta-loss, of which the theory's power iterations are made."""
    problem, start, shared = convex()

    def second(engine):
        with tf.GradientTape() as outer:
            outer.watch(shared)
            _, gradients = derivatives(adapt(engine, problem, [0.3, 0.3]), start, shared)
            value = tf.add_n([tf.reduce_sum(part**2) for part in gradients])
        return outer.gradient(value, shared)

    assert_close(second(explicit), second(unrolled), rtol=1e-9)


@pytest.mark.parametrize(("engine", "keeps_more"), [(explicit, False), (unrolled, True)])
def test_only_the_iterates_are_kept(engine, keeps_more):
    """What the way back takes from the way there: w_0 .. w_{N-1}, features and targets, and nothing of each step."""
    problem, start, shared = convex()
    with tf.Graph().as_default() as graph:
        inputs = [tf.compat.v1.placeholder(part.dtype, part.shape) for part in (*start, *shared)]
        targets = tf.compat.v1.placeholder(tf.float64, problem._targets.shape)
        made = LinearProblem(targets, loss="cross_entropy", l2=0.2)
        end = adapt(engine, made, [0.3, 0.3])(inputs[:2], inputs[2:])
        there = set(graph.get_operations())
        tf.gradients([tf.reduce_sum(part) for part in end], inputs)
        back = [op for op in graph.get_operations() if op not in there]
    kept = {tensor.ref() for op in back for tensor in op.inputs if tensor.op in there}
    shapes = [tuple(t.deref().shape) for t in kept if t.deref().dtype.is_floating]
    head, features = {(TASKS, WIDTH, WAYS), (TASKS, WAYS)}, {(TASKS, ROWS, WIDTH)}
    iterates = {(STEPS, *shape) for shape in head}
    beside = [shape for shape in shapes if shape not in head | iterates | features | {()}]
    assert (beside != [(TASKS, ROWS, WAYS)]) == keeps_more  # the targets, which are given
