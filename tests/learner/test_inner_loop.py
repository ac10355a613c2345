"""The inner loop of every algorithm: one meta-gradient, exact, whatever engine takes it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import anil_tf
from anil_tf.models import mlp, split
from tests.adaptation.problems import assert_close
from tests.learners import (
    WAYS,
    loss_of,
    meta_batch,
    meta_gradient,
    precision,
    smooth_learner,
)

TASKS = 2
BOIL = {"adapted_layers": "all", "frozen_in_adaptation": "head"}


@pytest.fixture(autouse=True)
def float64():
    with precision("float64"):
        yield


def vectors(tasks=TASKS):
    return meta_batch((4,), tasks=tasks, dtype="float64")


def of_engines(learner, inputs, labels, **options):
    """The meta-gradient by the learner's own engine, and by tapes."""
    unrolled = learner.replace(differentiation="unrolled")
    return [meta_gradient(each, inputs, labels, **options) for each in (learner, unrolled)]


# Each head, each kind of step size, each number of adapted layers, with and without l2; not all of their products.
@pytest.mark.parametrize(
    "settings",
    [
        {"adapted_layers": "all", "learned_inner_step_size": "per_variable", "inner_l2": 0.5},
        {"head_initialization": "prototype", "learned_inner_step_size": "scalar"},
        {"head_initialization": "zero", "adapted_layers": 2, "inner_l2": 0.5},
        BOIL,
        {"head_initialization": "ridge", "adapted_layers": 2, "inner_l2": 0.5},
        {"head_initialization": "nil", "adapted_layers": 2},
    ],
    ids=str,
)
def test_meta_gradient_equals_central_differences(settings):
    learner = smooth_learner(**settings, inner_steps=2)
    inputs, labels = vectors()
    loss = tf.function(lambda: loss_of(learner, inputs, labels))
    gradients = tf.function(meta_gradient)(learner, inputs, labels)
    assert all(gradient is not None for gradient in gradients)
    rng = np.random.default_rng(0)
    direction = [rng.normal(size=v.shape) for v in learner.trainable_variables]
    values = []
    for move in (1e-5, -2e-5):
        for variable, along in zip(learner.trainable_variables, direction, strict=True):
            variable.assign_add(move * along)
        values.append(float(loss()))
    slope = (values[0] - values[1]) / 2e-5
    product = sum(np.sum(g * d) for g, d in zip(gradients, direction, strict=True))
    assert float(product) == pytest.approx(slope, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    "settings",
    [
        {"inner_l2": 0.3},
        {"head_initialization": "prototype"},
        {"adapted_layers": 2, "inner_l2": 0.3},
        BOIL,
    ],
    ids=str,
)
def test_explicit_equals_unrolled(settings):
    """Proposition 1 against tapes, to 1e-10: linear heads in the span of the support, and deeper ones."""
    learner = smooth_learner(inner_steps=2, **settings)
    assert learner.differentiation == "explicit"
    assert_close(*of_engines(learner, *vectors()), rtol=1e-10)


def test_explicit_equals_unrolled_for_filters():
    """MAML on convolutions and batch normalisation, whose tasks are gone through one by one."""
    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.Conv2D(2, 3, strides=2, use_bias=False),
        keras.layers.BatchNormalization(),
        keras.layers.Activation("tanh"),
        keras.layers.Flatten(),
        keras.layers.Dense(WAYS),
    ]
    parts = split(keras.Sequential([keras.Input((5, 5, 1)), *layers]), "all")
    learner = anil_tf.MetaLearner(*parts, inner_steps=2, inner_step_size=0.3, dtype="float64")
    batch = meta_batch((5, 5, 1), tasks=TASKS, dtype="float64")
    assert_close(*of_engines(learner, *batch), rtol=1e-10)


def test_explicit_equals_unrolled_for_a_head_that_flattens():
    keras.utils.set_random_seed(0)
    body = keras.Sequential([keras.Input((4,)), keras.layers.Reshape((2, 2))])
    last = [keras.layers.Flatten(), keras.layers.Dense(WAYS)]
    head = keras.Sequential([keras.Input((2, 2)), *last])
    learner = anil_tf.MetaLearner(body, head, inner_steps=2, dtype="float64")
    assert learner.replace(differentiation="implicit", inner_l2=0.1).describe()
    assert_close(*of_engines(learner, *vectors()), rtol=1e-10)


def test_explicit_equals_unrolled_for_squared_errors():
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


def test_the_recomputed_step_draws_the_same_masks():
    """Dropout in the head: on the way back `explicit` computes each step again, and must see what it saw."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(8, activation="tanh"), keras.layers.Dropout(0.5)]
    model = keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(WAYS)])
    learner = anil_tf.MetaLearner(*split(model, 2), inner_steps=2, dtype="float64")
    inputs, labels = vectors()
    one, other = of_engines(learner, inputs, labels, training=True)
    assert_close(one, other, rtol=1e-10)
    without = meta_gradient(learner, inputs, labels)
    assert np.abs(one[0] - without[0]).max() > 1e-3


def test_first_order_is_the_gradient_at_the_adapted_head():
    """FOMAML: dL_D/dw at w_N stands in for dL_D/dw_0, and phi counts in the query loss alone."""
    inputs, labels = vectors(tasks=1)
    learner = smooth_learner(differentiation="first_order")
    state = learner.task_state(inputs["support_images"][0], inputs["support_labels"][0], WAYS)
    phi = learner.body_variables
    with tf.GradientTape() as tape:
        tape.watch(state.tensors)
        logits = learner.answer(inputs["query_images"][0], state)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels[0], logits=logits)
        loss = tf.reduce_mean(losses)
    expected = tape.gradient(loss, [*[v.value for v in phi], *state.tensors])
    by_variable = {id(v): g for v, g in zip([*phi, *learner.head_variables], expected, strict=True)}
    in_order = [by_variable[id(variable)] for variable in learner.trainable_variables]
    assert_close(meta_gradient(learner, inputs, labels), in_order, rtol=1e-9)


@pytest.mark.parametrize(("adapted_layers", "reach"), [(1, 2), (2, 1)])
def test_truncation_takes_the_head_that_earlier_steps_left_as_given(adapted_layers, reach):
    """So it equals the exact meta-gradient of the last steps, begun at the head where they began."""
    inputs, labels = vectors(tasks=1)
    learner = smooth_learner(adapted_layers, inner_steps=3)
    truncated = learner.replace(differentiation="truncated", truncated_to=reach)
    gradients = meta_gradient(truncated, inputs, labels)
    early = learner.replace(inner_steps=3 - reach)
    state = early.task_state(inputs["support_images"][0], inputs["support_labels"][0], WAYS)
    for variable, tensor in zip(learner.head_variables, state.tensors, strict=True):
        variable.assign(tensor)
    late = learner.replace(inner_steps=reach)
    assert_close(gradients, meta_gradient(late, inputs, labels), rtol=1e-10)


def test_truncation_to_more_steps_than_there_are_is_exact():
    learner = smooth_learner(inner_steps=1, learned_inner_step_size="scalar")
    truncated = learner.replace(differentiation="truncated", truncated_to=5)
    one, other = (meta_gradient(each, *vectors()) for each in (truncated, learner))
    assert_close(one, other, rtol=0)


@pytest.mark.parametrize(
    ("initialization", "solver"), [("free", "newton"), ("prototype", "gradient_descent")]
)
def test_implicit_is_the_limit_of_many_explicit_steps(initialization, solver):
    learner = smooth_learner(
        head_initialization=initialization,
        inner_l2=0.5,
        differentiation="implicit",
        inner_solver=solver,
        inner_tolerance=1e-11,
    )
    explicit = learner.replace(differentiation="explicit", inner_steps=200)
    one, other = (tf.function(meta_gradient)(each, *vectors()) for each in (learner, explicit))
    for variable, gradient, limit in zip(learner.trainable_variables, one, other, strict=True):
        np.testing.assert_allclose(gradient, limit, atol=1e-9)
        forgotten = any(variable is one for one in learner.head_variables)
        assert bool(np.any(gradient)) != forgotten


def test_a_frozen_body_changes_no_derivative_of_the_head():
    """Without a body to learn, no derivative by features is taken."""
    learner = smooth_learner(2, inner_steps=2, learned_inner_step_size="scalar")
    ids = {id(variable) for variable in learner.head_variables}
    pairs = zip(learner.trainable_variables, meta_gradient(learner, *vectors()), strict=True)
    expected = [gradient for variable, gradient in pairs if id(variable) in ids]
    learner.body.trainable = False
    assert len(learner.trainable_variables) == len(expected) > 0
    assert_close(meta_gradient(learner, *vectors()), expected, rtol=1e-10)
