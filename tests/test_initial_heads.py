"""Heads by name: what each learns beside the model, and the two that have no inner loop."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import anil_tf
from anil_tf.initial_heads import INITIALIZATIONS, make_head
from anil_tf.models import mlp, split
from anil_tf.models.heads import CosineHead, FreeHead, SymmetricHead
from anil_tf.models.normalization import Batch

WIDTH, UNITS, CLASSES = 4, (6, 5), 3


def head_model(adapted_layers=1):
    keras.utils.set_random_seed(1)
    model = mlp(input_shape=(WIDTH,), classes=CLASSES, units=UNITS, activation="tanh")
    return split(model, adapted_layers)[1]


def variables():
    """Collects the scalars that a head learns beside the model: name -> variable."""
    made = {}

    def make_scalar(name, value):
        made[name] = keras.Variable(value, dtype="float64", name=name)
        return made[name]

    return made, make_scalar


def task(width, ways=CLASSES, shots=4):
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(ways), shots)).astype("int32")
    return rng.normal(size=[ways * shots, width]), labels, rng.normal(size=[7, width])


@pytest.mark.parametrize(
    ("initialization", "kind", "learned", "has_inner_loop"),
    [
        ("free", FreeHead, {}, True),
        ("zero", SymmetricHead, {}, True),
        ("prototype", SymmetricHead, {"prototype_scale": 5**-0.5}, True),
        ("ridge", SymmetricHead, {"ridge_scale": 10.0, "ridge_log_l2": np.log(0.3)}, False),
        ("nil", CosineHead, {}, False),
    ],
)
def test_each_head_learns_its_scalars(initialization, kind, learned, has_inner_loop):
    made, make_scalar = variables()
    head = make_head(head_model(), initialization, make_scalar, l2=0.3)
    assert type(head) is kind and head.has_inner_loop == has_inner_loop
    assert {name: float(variable) for name, variable in made.items()} == pytest.approx(learned)


@pytest.mark.parametrize("ways", [3, 5])
@pytest.mark.parametrize("adapted_layers", [1, 2])
def test_ridge_solves_the_normal_equations_of_the_last_layers_inputs(adapted_layers, ways):
    """(H~^T H~ + r I) W = H~^T Y with r = lambda n C / 2, times the scale; H~ is H and a column of ones."""
    made, make_scalar = variables()
    head = make_head(head_model(adapted_layers), "ridge", make_scalar, l2=0.3)
    made["ridge_scale"].assign(2.0)
    made["ridge_log_l2"].assign(np.log(0.1))
    features, labels, queries = task(UNITS[2 - adapted_layers], ways)
    *below, kernel, bias = head.start(tf.constant(features), tf.constant(labels), ways, Batch())
    hidden = lambda rows: np.tanh(rows @ below[0] + below[1]) if below else rows  # noqa: E731
    rows = np.concatenate([hidden(features), np.ones([len(features), 1])], axis=1)
    system = rows.T @ rows + 0.1 * len(rows) * ways / 2 * np.eye(rows.shape[1])
    expected = 2 * np.linalg.solve(system, rows.T @ np.eye(ways)[labels])
    # The layer below keeps its float32 weights.
    tolerance = 1e-9 if adapted_layers == 1 else 1e-5
    np.testing.assert_allclose(kernel, expected[:-1], rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(bias, expected[-1], rtol=tolerance, atol=tolerance)
    logits, _ = head([*below, kernel, bias], tf.constant(queries), Batch())
    by_hand = hidden(queries) @ expected[:-1] + expected[-1]
    np.testing.assert_allclose(logits, by_hand, rtol=tolerance, atol=tolerance)


def test_ridge_fits_numbers_as_they_are():
    """A regression's outputs are its targets, but for lambda: the scale starts at 1 there."""
    made, make_scalar = variables()
    head = make_head(head_model(), "ridge", make_scalar, l2=1e-8)
    features, _, queries = task(UNITS[1])
    weights = np.arange(10.0).reshape(UNITS[1], 2)
    targets = tf.constant(features @ weights + 3, tf.float32)  # as data sets have them
    kernel, bias = head.start(tf.constant(features), targets, 2, Batch())
    outputs, _ = head([kernel, bias], tf.constant(queries), Batch())
    np.testing.assert_allclose(outputs, queries @ weights + 3, rtol=1e-4, atol=1e-4)


def test_a_ridge_learner_regresses_in_one_go():
    keras.utils.set_random_seed(0)
    body, head = split(mlp(input_shape=(1,), classes=1), 1)
    learner = anil_tf.MetaLearner(
        body, head, inner_loss="squared_error", head_initialization="ridge", inner_l2=1e-4
    )
    x = np.linspace(-1, 1, 10, dtype="float32").reshape(1, 10, 1)
    inputs = {"support_images": x, "support_labels": 2 * x, "query_images": x}
    with tf.GradientTape() as tape:
        outputs = learner(inputs)
        loss = tf.reduce_mean((outputs - 2 * x) ** 2)
    assert float(loss) < 1e-2
    assert all(slope is not None for slope in tape.gradient(loss, learner.trainable_variables))
    predicted = learner.adapt(x[0], 2 * x[0]).predict(x[0])
    np.testing.assert_allclose(predicted, outputs[0], atol=1e-4)


def test_an_unknown_initialization_is_refused():
    for word in INITIALIZATIONS:
        make_head(head_model(), word, variables()[1], l2=1.0)
    with pytest.raises(ValueError, match="one of free, zero, prototype, ridge, nil. Rec.*: 'ones'"):
        make_head(head_model(), "ones", variables()[1])


@pytest.mark.parametrize("l2", [0.0, -1.0])
def test_ridge_needs_a_strength_to_start_from(l2):
    with pytest.raises(ValueError, match=f"needs inner_l2 > 0.*Received: inner_l2={l2:g}"):
        make_head(head_model(), "ridge", variables()[1], l2=l2)
