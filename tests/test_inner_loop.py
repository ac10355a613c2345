"""The inner loop of every algorithm: one meta-gradient, whatever engine takes it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import anil_tf
from anil_tf.models import mlp, split
from tests.learners import (
    DESCENTS,
    WAYS,
    meta_batch,
    meta_gradient,
    precision,
    smooth_learner,
    tensors,
)

TASKS = 2


@pytest.fixture
def float64():
    with precision("float64"):
        yield


def vectors():
    return tensors(meta_batch((4,), tasks=TASKS), tf.float64)


def assert_close(one, other, rtol):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max())


@pytest.mark.parametrize("algorithm", DESCENTS)
def test_explicit_equals_unrolled(algorithm, float64):
    """Proposition 1 against tapes, to 1e-10: every algorithm, linear heads in both geometries."""
    inputs, labels = vectors()
    inner_l2 = 0.3 if algorithm in ("ANIL, zero", "two layers") else 0.0
    learner = smooth_learner(inner_steps=2, inner_l2=inner_l2, **DESCENTS[algorithm])
    assert learner.differentiation == "explicit"
    unrolled = learner.replace(differentiation="unrolled")
    one, other = (meta_gradient(each, inputs, labels) for each in (learner, unrolled))
    assert_close(one, other, rtol=1e-10)


def test_explicit_equals_unrolled_for_filters(float64):
    """MAML on convolutions and batch normalisation, whose tasks are gone through one by one."""
    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.Conv2D(3, 3, strides=2, use_bias=False),
        keras.layers.BatchNormalization(),
        keras.layers.Activation("tanh"),
        keras.layers.Flatten(),
        keras.layers.Dense(WAYS),
    ]
    body, head = split(keras.Sequential([keras.Input((6, 6, 1)), *layers]), "all")
    learner = anil_tf.MetaLearner(body, head, inner_steps=2, inner_step_size=0.3, dtype="float64")
    unrolled = learner.replace(differentiation="unrolled")
    inputs, labels = tensors(meta_batch((6, 6, 1), tasks=TASKS), tf.float64)
    one, other = (meta_gradient(each, inputs, labels) for each in (learner, unrolled))
    assert_close(one, other, rtol=1e-10)


def test_explicit_equals_unrolled_for_squared_errors(float64):
    keras.utils.set_random_seed(0)
    body, head = split(mlp(input_shape=(1,), classes=2, units=(5,), activation="tanh"), 1)
    learner = anil_tf.MetaLearner(body, head, inner_loss="squared_error", dtype="float64")
    x = np.random.default_rng(0).normal(size=[TASKS, 4, 1])
    y = np.concatenate([np.sin(x), x**2], axis=-1)
    inputs = {"support_images": x, "support_labels": y, "query_images": x + 0.1}
    gradients = []
    for engine in ("explicit", "unrolled"):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((learner.replace(differentiation=engine)(inputs) - y) ** 2)
        gradients.append(tape.gradient(loss, learner.trainable_variables))
    assert_close(*gradients, rtol=1e-10)


def test_the_recomputed_step_draws_the_same_masks(float64):
    """Dropout in the head: on the way back `explicit` computes each step again, and must see what it saw."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(8, activation="tanh"), keras.layers.Dropout(0.5)]
    model = keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(WAYS)])
    learner = anil_tf.MetaLearner(*split(model, 2), inner_steps=2, dtype="float64")
    unrolled = learner.replace(differentiation="unrolled")
    inputs, labels = vectors()
    one, other = (
        meta_gradient(each, inputs, labels, training=True) for each in (learner, unrolled)
    )
    assert_close(one, other, rtol=1e-10)
    without = meta_gradient(learner, inputs, labels)
    assert np.abs(one[0] - without[0]).max() > 1e-3


@pytest.mark.parametrize(("adapted_layers", "reach"), [(1, 2), (2, 1)])
def test_truncation_takes_the_head_that_earlier_steps_left_as_given(adapted_layers, reach, float64):
    """So it equals the exact meta-gradient of the last steps, begun at the head where they began."""
    inputs, labels = tensors(meta_batch((4,), tasks=1), tf.float64)
    steps = 4
    learner = smooth_learner(adapted_layers, inner_steps=steps)
    truncated = learner.replace(differentiation="truncated", truncated_to=reach)
    gradients = meta_gradient(truncated, inputs, labels)
    early = learner.replace(inner_steps=steps - reach)
    support = inputs["support_images"][0], inputs["support_labels"][0]
    for variable, tensor in zip(
        learner.head_variables, early.task_state(*support, WAYS).tensors, strict=True
    ):
        variable.assign(tensor)
    late = learner.replace(inner_steps=reach)
    assert_close(gradients, meta_gradient(late, inputs, labels), rtol=1e-10)


def test_truncation_to_more_steps_than_there_are_is_exact(float64):
    inputs, labels = vectors()
    learner = smooth_learner(inner_steps=2)
    truncated = learner.replace(differentiation="truncated", truncated_to=5)
    one, other = (meta_gradient(each, inputs, labels) for each in (truncated, learner))
    assert_close(one, other, rtol=0)


@pytest.mark.parametrize(
    ("initialization", "solver"), [("free", "newton"), ("prototype", "gradient_descent")]
)
def test_implicit_is_the_limit_of_many_explicit_steps(initialization, solver, float64):
    inputs, labels = vectors()
    learner = smooth_learner(
        head_initialization=initialization,
        inner_l2=0.5,
        differentiation="implicit",
        inner_solver=solver,
        inner_tolerance=1e-11,
    )
    explicit = learner.replace(differentiation="explicit", inner_steps=200)
    np.testing.assert_allclose(learner(inputs), explicit(inputs), atol=1e-9)
    one, other = (meta_gradient(each, inputs, labels) for each in (learner, explicit))
    for gradient, limit in zip(one, other, strict=True):
        np.testing.assert_allclose(gradient, limit, atol=1e-9)
    for variable, gradient in zip(learner.trainable_variables, one, strict=True):
        forgotten = any(variable is one for one in learner.head_variables)
        assert bool(np.any(gradient)) != forgotten


@pytest.mark.parametrize("settings", [{}, {"adapted_layers": 2}, {"head_initialization": "zero"}])
def test_a_frozen_body_changes_no_derivative_of_the_head(settings, float64):
    """Without a body to learn, no derivative by features is taken."""
    inputs, labels = vectors()
    learner = smooth_learner(**settings, inner_steps=2, learned_inner_step_size="scalar")
    ids = {id(variable) for variable in learner.head_variables}
    pairs = zip(learner.trainable_variables, meta_gradient(learner, inputs, labels), strict=True)
    expected = [gradient for variable, gradient in pairs if id(variable) in ids]
    learner.body.trainable = False
    assert len(learner.trainable_variables) == len(expected) > 0
    assert_close(meta_gradient(learner, inputs, labels), expected, rtol=1e-10)
