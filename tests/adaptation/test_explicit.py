"""Proposition 1 by its recursion, against tapes, against its own dense form and against finite differences."""

import numpy as np
import pytest
import tensorflow as tf

from anil_tf.adaptation import explicit, unrolled
from anil_tf.adaptation.linear_problem import LinearProblem
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


def adapt(engine, problem, sizes, steps=STEPS, reach=None):
    def run(start, shared):
        return engine.gradient_descent(
            problem,
            start,
            shared,
            steps=steps,
            step_sizes=sizes,
            differentiated_steps=steps if reach is None else reach,
        )

    return run


def problems():
    taped, closed, start, shared = linear_head()
    yield "strongly convex, taped", taped, start, shared
    yield "strongly convex, closed form", closed, start, shared
    _, closed, start, shared = linear_head("squared_error")
    yield "squared error, closed form", closed, start, shared
    yield "nonconvex", *two_layer_head()


def learned_sizes(start, kind):
    if kind == "fixed":
        return [0.3] * len(start)
    if kind == "scalar":
        return [tf.constant(0.3, tf.float64)] * len(start)
    if kind == "per class":  # shared by the columns: one entry per row
        return [0.3 + 0.01 * normal(5, *part.shape[1:-1], 1) for part in start]
    return [0.3 + 0.01 * normal(5, *part.shape[1:]) for part in start]


@pytest.mark.parametrize(
    ("kind", "reach"),
    [
        ("fixed", STEPS),
        ("scalar", STEPS),
        ("per class", 1),
        ("per entry", STEPS - 1),
        ("per entry", 0),
    ],
)
@pytest.mark.parametrize("case", list(problems()), ids=lambda case: case[0])
def test_it_equals_the_unrolled_engine(case, kind, reach):
    """Value and derivatives by w_0, features and step sizes, to 1e-10; exact, truncated and first order.

    Step sizes are learned all the same: stopping the gradients of early steps does not stop what they multiply.
    """
    _, problem, start, shared = case
    sizes = learned_sizes(start, kind)
    learned = [size for size in sizes if tf.is_tensor(size)]
    one, other = (
        derivatives(adapt(engine, problem, sizes, reach=reach), start, shared, learned)
        for engine in (explicit, unrolled)
    )
    assert_close(one, other, rtol=1e-10)


def test_it_equals_the_dense_products():
    """A_0 ... A_{N-1} D and -alpha sum_m J_m A_{m+1} ... A_{N-1} D, with the matrices written out."""
    alpha = 0.3
    _, problem, start, shared = linear_head(bias=False)
    task = lambda tensors: [part[:1] for part in tensors]  # noqa: E731
    target = normal(50, WIDTH * WAYS)
    problem._targets = problem._targets[:1]
    start, shared = task(start), task(shared)
    iterates, hessians, mixed = [start], [], []
    for _ in range(STEPS):
        point = iterates[-1]
        with tf.GradientTape(persistent=True) as tape:
            tape.watch([point, shared])
            gradient = tf.reshape(problem.gradient(point, shared)[0], [-1])
        size = gradient.shape[0]
        hessians.append(tf.reshape(tape.jacobian(gradient, point[0]), [size, size]))
        mixed.append(tf.reshape(tape.jacobian(gradient, shared[0]), [size, -1]))
        iterates.append([point[0] - alpha * tf.reshape(gradient, point[0].shape)])
    vector, of_shared = target, tf.zeros_like(mixed[0][0])
    for hessian, jacobian in zip(reversed(hessians), reversed(mixed), strict=True):
        of_shared -= alpha * tf.linalg.matvec(jacobian, vector, transpose_a=True)
        vector -= alpha * tf.linalg.matvec(hessian, vector)

    with tf.GradientTape() as tape:
        tape.watch([start, shared])
        end = adapt(explicit, problem, [alpha])(start, shared)
        value = tf.reduce_sum(target * tf.reshape(end[0], [-1]))
    of_start, of_features = tape.gradient(value, [start[0], shared[0]])
    np.testing.assert_allclose(tf.reshape(of_start, [-1]), vector, rtol=1e-11)
    np.testing.assert_allclose(tf.reshape(of_features, [-1]), of_shared, rtol=1e-11, atol=1e-14)


def test_compiled_equals_eager():
    problem, start, shared = two_layer_head()
    run = adapt(explicit, problem, [0.3, 0.3])
    compiled = tf.function(lambda: derivatives(run, start, shared), jit_compile=True)
    assert_close(compiled(), derivatives(run, start, shared), rtol=1e-10)


def test_it_can_be_differentiated_again():
    """Second derivatives of the meta-loss, of which the theory's power iterations are made."""
    _, problem, start, shared = linear_head()

    def second(engine):
        with tf.GradientTape() as outer:
            outer.watch(shared)
            end, gradients = derivatives(adapt(engine, problem, [0.3, 0.3]), start, shared)
            value = tf.add_n([tf.reduce_sum(part**2) for part in gradients])
        return outer.gradient(value, shared)

    assert_close(second(explicit), second(unrolled), rtol=1e-9)


@pytest.mark.parametrize(("engine", "keeps_more"), [(explicit, False), (unrolled, True)])
def test_only_the_iterates_are_kept(engine, keeps_more):
    """What the way back takes from the way there: w_0 .. w_{N-1}, features and targets, and nothing of each step."""
    _, problem, start, shared = linear_head()
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
