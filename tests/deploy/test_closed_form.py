"""Adaptation without derivatives: the numbers of `MetaLearner.task_state`, from plain operations."""

import numpy as np
import pytest
import tensorflow as tf

from anil_tf.deploy import closed_form
from tests.deploy.learners import (
    learner_of,
    make_learner,
    mixed_precision_learner,
    numbers,
    pixels,
    regression_learner,
)

LINEAR = {
    "free": {},
    "free, l2": {"inner_l2": 0.3},
    "no step": {"inner_steps": 0},
    "a loop of steps": {"inner_steps": 40},
    "zero": {"head_initialization": "zero"},
    "prototype": {"head_initialization": "prototype"},
    "scalar step size": {"learned_inner_step_size": "scalar", "head_initialization": "zero"},
    "step sizes by entry": {
        "learned_inner_step_size": "per_variable",
        "head_initialization": "prototype",
    },
    "Meta-SGD, free": {"learned_inner_step_size": "per_variable"},
    "ridge": {"head_initialization": "ridge", "inner_l2": 0.5},
    "nil": {"head_initialization": "nil"},
    "Newton": {"differentiation": "implicit", "inner_l2": 0.5},
    "descent to the minimum": {
        "differentiation": "implicit",
        "inner_solver": "gradient_descent",
        "inner_l2": 0.5,
        "inner_step_size": 0.3,
    },
}
# What no builtin operator of LiteRT does, in the names of TensorFlow's.
FOREIGN = ("TensorList", "FusedBatchNorm", "Cholesky", "SymbolicGradient", "Unique")


def task():
    images, labels, _ = pixels()
    return tf.constant(images, tf.float32), tf.constant(labels)


def compare(found, expected, tolerance):
    for ours, theirs in zip(
        tf.nest.flatten(found, expand_composites=True), tf.nest.flatten(expected), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("kind", "normalization"), [*((kind, "support") for kind in LINEAR), ("prototype", "running")]
)
def test_the_state_is_the_learners_by_plain_operations_for_any_number_of_ways(kind, normalization):
    learner = make_learner(**LINEAR[kind])
    closed_form.check(learner)
    free = learner.head_initialization == "free"

    @tf.function(
        input_signature=[tf.TensorSpec([None, 16, 16, 1]), tf.TensorSpec([None], tf.int32)]
    )
    def state(images, labels):
        ways = 3 if free else tf.reduce_max(labels) + 1
        return closed_form.task_state(learner, images, labels, ways, normalization)

    definition = state.get_concrete_function().graph.as_graph_def()
    nodes = list(definition.node)
    for function in definition.library.function:
        nodes += function.node_def
    assert not [n.op for n in nodes if any(word in n.op for word in FOREIGN)]
    images, labels = task()
    expected = tf.function(lambda *task: learner.task_state(*task, 3, normalization))
    compare(state(images, labels), expected(images, labels), 2e-4)


@pytest.mark.parametrize(
    "options", [{}, {"head_initialization": "ridge", "inner_l2": 0.1}], ids=str
)
def test_a_regression_is_adapted_too(options):
    learner = regression_learner().replace(**options)
    inputs, targets, _ = map(tf.constant, numbers())
    expected = learner.task_state(inputs, targets, 1)
    compare(closed_form.task_state(learner, inputs, targets, 1), expected, 1e-5)


def test_a_body_in_mixed_precision_feeds_a_head_in_float32():
    learner = mixed_precision_learner()
    state = closed_form.task_state(learner, *task(), 3)
    assert {tensor.dtype for tensor in state.tensors} == {tf.float32}


@pytest.mark.parametrize("size", [1, 7])
def test_elimination_solves_positive_definite_systems(size):
    rng = np.random.default_rng(size)
    factor = rng.normal(size=(size, size + 3))
    matrix, right = factor @ factor.T + 0.1 * np.eye(size), rng.normal(size=(size, 4))
    found = closed_form.eliminate(tf.constant(matrix), tf.constant(right))
    np.testing.assert_allclose(found, np.linalg.solve(matrix, right), rtol=1e-8, atol=1e-8)


def test_elimination_keeps_its_digits_in_float32_where_one_direction_dominates():
    """The Gram matrix of features with a large common part, as those behind a ReLU are."""
    rng = np.random.default_rng(0)
    features = 5.0 + rng.normal(size=(25, 60))
    matrix = features @ features.T + 0.5 * np.eye(25)
    right = rng.normal(size=(25, 5))
    found = closed_form.eliminate(*(tf.constant(x, tf.float32) for x in (matrix, right)))
    exact = np.linalg.solve(matrix, right)
    assert np.abs(found - exact).max() < 1e-3 * np.abs(exact).max()


@pytest.mark.parametrize("kind", ["two layers, nil", "MAML", "BOIL"])
def test_deeper_heads_are_refused_with_the_format_that_holds_them(kind):
    with pytest.raises(ValueError, match="one linear layer.*Export as saved_model") as raised:
        closed_form.check(learner_of(kind))
    assert "\n" not in str(raised.value)
