"""Where adaptation starts, and how a head answers: every kind of head."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from anil_tf.config.heads import HEADS
from anil_tf.models import mlp, split
from anil_tf.models.normalization import Batch
from tests.adaptation.problems import assert_close

UNITS, CLASSES = (6, 5), 3
FROM_EXAMPLES = [name for name, kind in HEADS.items() if kind.any_number_of_ways]


def make(name, model, scalars=None, l2=0.3):
    """The head of this name; `scalars` collects what it learns beside the model."""
    scalars = {} if scalars is None else scalars

    def make_scalar(name, value):
        return scalars.setdefault(name, keras.Variable(value, dtype="float64", name=name))

    return HEADS[name].load()(model, make_scalar, l2=l2)


def head_model(adapted_layers=1):
    keras.utils.set_random_seed(1)
    model = mlp(input_shape=(4,), classes=CLASSES, units=UNITS, activation="tanh")
    return split(model, adapted_layers)[1]


def task(width, ways=CLASSES, shots=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(ways), shots)).astype("int32")
    return rng.normal(size=[ways * shots, width]), labels, rng.normal(size=[20, width])


def answers(head, features, labels, queries, ways):
    """The start, its last layer's inputs (features and queries), and the logits of the queries."""
    *below, kernel, bias = head.start(tf.constant(features), tf.constant(labels), ways, Batch())
    hidden = [np.tanh(x @ below[0] + below[1]) if below else x for x in (features, queries)]
    logits, _ = head([*below, kernel, bias], tf.constant(queries), Batch())
    return (kernel.numpy(), bias.numpy()), hidden, logits.numpy()


@pytest.mark.parametrize("adapted_layers", [1, 3])
@pytest.mark.parametrize("name", HEADS)
def test_names_and_shapes_belong_to_the_tensors_of_the_start(name, adapted_layers):
    model = head_model(adapted_layers)
    head = make(name, model)
    features, labels, _ = task(model.input_shape[-1])
    tensors = head.start(tf.constant(features, tf.float32), tf.constant(labels), CLASSES, Batch())
    assert len(head.adapted_names) == len(head.step_size_shapes) == len(tensors)
    assert len(tensors) == 2 * adapted_layers and head.last_layer_tensors == 2
    assert head.adapted_names[-2:] == ["logits/kernel", "logits/bias"]
    for shape, tensor in zip(head.step_size_shapes, tensors, strict=True):
        np.broadcast_to(np.zeros(shape), tensor.shape)  # raises where they do not fit
        assert len(shape) == len(tensor.shape)
    treats_classes_alike = head.step_size_shapes[-2:] == [(UNITS[1], 1), (1,)]
    assert treats_classes_alike == HEADS[name].any_number_of_ways
    assert head.rows == (None if treats_classes_alike else CLASSES)


LEARNED = {
    "prototype": {"prototype_scale": 5**-0.5},
    "ridge": {"ridge_scale": 10.0, "ridge_log_l2": np.log(0.3)},
}


@pytest.mark.parametrize("name", HEADS)
def test_the_record_says_what_a_head_learns(name):
    model, scalars = head_model(), {}
    head = make(name, model, scalars)
    values = {key: float(variable) for key, variable in scalars.items()}
    assert values == pytest.approx(LEARNED.get(name, {}))
    assert not (scalars and HEADS[name].fits_any_body)
    features, labels, _ = task(UNITS[1])
    with tf.GradientTape() as tape:
        tensors = head.start(tf.constant(features), tf.constant(labels), CLASSES, Batch())
    learned = [*model.trainable_variables, *scalars.values()]
    slopes = tape.gradient(tensors, [variable.value for variable in learned])
    depends = any(slope is not None for slope in slopes)
    assert HEADS[name].last_layer_is_learned == (depends and HEADS[name].has_inner_loop)


def test_a_free_head_is_the_model_and_starts_at_its_variables():
    model = head_model(2)
    head = make("free", model)
    features = tf.ones([4, UNITS[0]])
    start = head.start(features, tf.constant([0, 1, 0, 1]), CLASSES, Batch())
    assert_close(start, model.trainable_variables, rtol=0)
    assert_close(head(start, features, Batch())[0], model(features), rtol=1e-5)
    assert head.learned_model is model


def test_a_zero_head_starts_at_zero_for_any_ways_and_learns_only_the_layers_below():
    head = make("zero", head_model(2))
    start, _, logits = answers(head, *task(UNITS[0], 4), 4)
    assert [part.shape for part in start] == [(UNITS[1], 4), (4,)]
    assert not any(np.any(part) for part in (*start, logits))
    assert [tuple(v.shape) for v in head.learned_model.trainable_variables] == [UNITS, UNITS[1:]]
    assert make("zero", head_model(1)).learned_model is None


@pytest.mark.parametrize(("adapted_layers", "ways", "scale"), [(1, 2, 5.0), (2, 5, 0.3)])
def test_a_prototype_head_starts_as_the_classifier_by_distance_to_class_means(
    adapted_layers, ways, scale
):
    """Its logits are -s/2 |h - m_c|^2 up to a term that all classes share; hence equal probabilities."""
    scalars = {}
    head = make("prototype", head_model(adapted_layers), scalars)
    scalars["prototype_scale"].assign(scale)
    features, labels, queries = task(UNITS[2 - adapted_layers], ways)
    _, (support, hidden), logits = answers(head, features, labels, queries, ways)
    means = np.stack([support[labels == c].mean(axis=0) for c in range(ways)])
    difference = logits + 0.5 * scale * np.sum((hidden[:, None] - means) ** 2, axis=-1)
    # The layer below, if any, computes in float32.
    shared = np.tile(difference.mean(axis=1, keepdims=True), ways)
    np.testing.assert_allclose(difference, shared, atol=1e-5)


def test_a_cosine_head_answers_with_ten_times_the_cosine_to_the_class_means():
    features, labels, queries = task(UNITS[0], 5)
    head = make("nil", head_model(2))
    (kernel, bias), (support, hidden), logits = answers(head, features, labels, queries, 5)
    means = np.stack([support[labels == c].mean(axis=0) for c in range(5)])
    np.testing.assert_allclose(kernel, means.T, rtol=1e-4, atol=1e-6)
    assert not np.any(bias)
    unit = lambda rows: rows / np.linalg.norm(rows, axis=1, keepdims=True)  # noqa: E731
    np.testing.assert_allclose(logits, 10 * unit(hidden) @ unit(means).T, atol=1e-4)


@pytest.mark.parametrize("name", FROM_EXAMPLES)
def test_a_class_without_examples_gets_finite_logits(name):
    features = tf.ones([2, UNITS[1]])
    head = make(name, head_model())
    tensors = head.start(features, tf.constant([0, 2]), 3, Batch())
    logits, _ = head(tensors, features[:1], Batch())
    assert np.isfinite(logits).all() and logits[0, 0] == logits[0, 2]
    assert abs(float(logits[0, 1])) < 1e-6


@pytest.mark.parametrize(
    ("last", "named"),
    [
        (keras.layers.Dense(3, activation="relu"), "Dense"),
        (keras.layers.EinsumDense("ab,bc->ac", 3), "EinsumDense"),
        (keras.Sequential([keras.layers.Dense(3), keras.layers.LayerNormalization()]), "Layer"),
    ],
    ids=["activation", "other layer", "more behind it"],
)
def test_heads_that_do_not_end_in_a_linear_dense_layer_are_refused(last, named):
    _, model = split(keras.Sequential([keras.Input((4,)), last]), 1)
    for name in FROM_EXAMPLES:
        with pytest.raises(ValueError, match=f"ends in a Dense layer.*Received.*{named}.*'free'"):
            make(name, model)
    make("free", model)


# ---- Ridge regression


@pytest.mark.parametrize(("adapted_layers", "ways"), [(1, 3), (2, 5)])
def test_ridge_solves_the_normal_equations_of_the_last_layers_inputs(adapted_layers, ways):
    """(H~^T H~ + r I) W = H~^T Y with r = lambda n C / 2, times the scale; H~ is H and a column of ones."""
    scalars = {}
    head = make("ridge", head_model(adapted_layers), scalars)
    scalars["ridge_scale"].assign(2.0)
    scalars["ridge_log_l2"].assign(np.log(0.1))
    features, labels, queries = task(UNITS[2 - adapted_layers], ways)
    start, (support, hidden), logits = answers(head, features, labels, queries, ways)
    rows = np.concatenate([support, np.ones([len(support), 1])], axis=1)
    system = rows.T @ rows + 0.1 * len(rows) * ways / 2 * np.eye(rows.shape[1])
    expected = 2 * np.linalg.solve(system, rows.T @ np.eye(ways)[labels])
    # The layer below keeps its float32 weights.
    tolerance = 1e-9 if adapted_layers == 1 else 1e-5
    found = np.concatenate([start[0], start[1][None]])
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    by_hand = hidden @ expected[:-1] + expected[-1]
    np.testing.assert_allclose(logits, by_hand, rtol=tolerance, atol=tolerance)


def test_ridge_fits_numbers_as_they_are():
    """A regression's outputs are its targets, but for lambda: the scale starts at 1 there."""
    features, _, queries = task(UNITS[1])
    weights = np.arange(10.0).reshape(UNITS[1], 2)
    targets = np.float32(features @ weights + 3)  # as data sets have them
    _, _, outputs = answers(make("ridge", head_model(), l2=1e-8), features, targets, queries, 2)
    np.testing.assert_allclose(outputs, queries @ weights + 3, rtol=1e-4, atol=1e-4)
