"""Where adaptation starts, and how a head answers: free, symmetric and cosine heads."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from anil_tf.initial_heads import make_head
from anil_tf.models import mlp, split
from anil_tf.models.heads import CosineHead, FreeHead, prototype_start
from anil_tf.models.normalization import Batch

WIDTH, UNITS, CLASSES = 4, (6, 5), 3


def head_model(adapted_layers=1):
    keras.utils.set_random_seed(1)
    model = mlp(input_shape=(WIDTH,), classes=CLASSES, units=UNITS, activation="tanh")
    return split(model, adapted_layers)[1]


def scale(value):
    return lambda name, initial: keras.Variable(value, name=name)


def task(ways, shots, width, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(ways), shots)).astype("int32")
    return rng.normal(size=[ways * shots, width]), labels, rng.normal(size=[20, width])


@given(
    ways=st.integers(2, 7),
    shots=st.integers(1, 4),
    width=st.integers(1, 6),
    factor=st.floats(0.05, 5.0),
    seed=st.integers(0, 99),
)
def test_the_prototype_start_classifies_by_the_distance_to_class_means(
    ways, shots, width, factor, seed
):
    """Its logits are -s/2 |h - m_c|^2 up to a term that all classes share; hence equal probabilities."""
    hidden, labels, queries = task(ways, shots, width, seed)
    kernel, bias = prototype_start(tf.constant(hidden), labels, ways, tf.constant(factor))
    means = np.stack([hidden[labels == c].mean(axis=0) for c in range(ways)])
    distances = np.sum((queries[:, None] - means) ** 2, axis=-1)
    logits = queries @ kernel + bias
    by_distance = -0.5 * np.float64(np.float32(factor)) * distances
    shared = np.mean(logits - by_distance, axis=1, keepdims=True)
    np.testing.assert_allclose(logits - by_distance, np.tile(shared, ways), atol=1e-8)
    np.testing.assert_array_equal(np.argmax(logits, 1), np.argmin(distances, 1))


def test_a_class_without_examples_gets_a_finite_row():
    kernel, bias = prototype_start(tf.ones([2, 3]), tf.constant([0, 2]), 3, tf.constant(1.0))
    np.testing.assert_array_equal(kernel[:, 1], np.zeros(3))
    assert np.isfinite(kernel).all() and np.isfinite(bias).all()


@pytest.mark.parametrize("adapted_layers", [1, 2])
def test_a_prototype_head_starts_from_the_inputs_of_its_last_layer(adapted_layers):
    model = head_model(adapted_layers)
    head = make_head(model, "prototype", scale(0.5))
    features, labels, _ = task(5, 2, model.input_shape[-1])
    features = tf.constant(features, tf.float32)
    *below, kernel, bias = head.start(features, labels, 5, Batch())
    hidden = features
    if adapted_layers == 2:
        hidden = tf.tanh(features @ below[0] + below[1])
    expected = prototype_start(hidden, labels, 5, tf.constant(0.5))
    np.testing.assert_allclose(kernel, expected[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(bias, expected[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("ways", [2, 3, 11])
def test_a_zero_head_starts_at_zero_for_any_ways(ways):
    head = make_head(head_model(2), "zero", scale(1.0))
    features = tf.ones([4, UNITS[0]])
    *below, kernel, bias = head.start(features, tf.constant([0, 1, 0, 1]), ways, Batch())
    assert kernel.shape == (UNITS[1], ways) and bias.shape == (ways,)
    assert not np.any(kernel) and not np.any(bias)
    assert len(below) == 2
    logits, _ = head([*below, kernel, bias], features, Batch())
    np.testing.assert_array_equal(logits, np.zeros([4, ways]))


@pytest.mark.parametrize("initialization", ["free", "zero", "prototype", "ridge", "nil"])
@pytest.mark.parametrize("adapted_layers", [1, 2, "all"])
def test_names_and_shapes_belong_to_the_tensors_of_the_start(initialization, adapted_layers):
    model = head_model(adapted_layers)
    head = make_head(model, initialization, scale(1.0), l2=1.0)
    features, labels, _ = task(CLASSES, 2, model.input_shape[-1])
    tensors = head.start(tf.constant(features, tf.float32), tf.constant(labels), CLASSES, Batch())
    layers = {1: 1, 2: 2, "all": 3}[adapted_layers]
    assert len(head.adapted_names) == len(head.step_size_shapes) == len(tensors) == 2 * layers
    assert head.adapted_names[-2:] == ["logits/kernel", "logits/bias"]
    assert head.last_layer_tensors == 2
    for shape, tensor in zip(head.step_size_shapes, tensors, strict=True):
        np.broadcast_to(np.zeros(shape), tensor.shape)  # raises where they do not fit
        assert len(shape) == len(tensor.shape)
    per_class = [(CLASSES,), (UNITS[1], CLASSES)]
    assert any(shape in per_class for shape in head.step_size_shapes) == (initialization == "free")


def test_a_free_head_is_the_model_and_starts_at_its_variables():
    model = head_model(2)
    head = make_head(model, "free", scale(1.0))
    features = tf.ones([4, UNITS[0]])
    start = head.start(features, tf.constant([0, 1, 0, 1]), CLASSES, Batch())
    for tensor, variable in zip(start, model.trainable_variables, strict=True):
        np.testing.assert_array_equal(tensor, variable)
    logits, _ = head(start, features, Batch())
    np.testing.assert_allclose(logits, model(features), rtol=1e-5, atol=1e-6)
    assert head.learned_model is model


def test_the_last_layer_of_a_symmetric_head_is_not_learned():
    assert make_head(head_model(1), "zero", scale(1.0)).learned_model is None
    trunk = make_head(head_model(2), "zero", scale(1.0)).learned_model
    assert [tuple(v.shape) for v in trunk.trainable_variables] == [UNITS, UNITS[1:]]


@pytest.mark.parametrize("initialization", ["zero", "prototype", "ridge", "nil"])
@pytest.mark.parametrize(
    ("last", "named"),
    [
        (keras.layers.Dense(3, activation="relu"), "Dense"),
        (keras.layers.EinsumDense("ab,bc->ac", 3), "EinsumDense"),
        (keras.Sequential([keras.layers.Dense(3), keras.layers.LayerNormalization()]), "Layer"),
    ],
    ids=["activation", "other layer", "more behind it"],
)
def test_heads_that_do_not_end_in_a_linear_dense_layer_are_refused(initialization, last, named):
    _, model = split(keras.Sequential([keras.Input((4,)), last]), 1)
    with pytest.raises(ValueError, match=f"ends in a Dense layer.*Received.*{named}.*'free'"):
        make_head(model, initialization, scale(1.0), l2=1.0)
    assert isinstance(make_head(model, "free", scale(1.0)), FreeHead)


@pytest.mark.parametrize("adapted_layers", [1, 2])
def test_a_cosine_head_answers_with_ten_times_the_cosine_to_the_class_means(adapted_layers):
    model = head_model(adapted_layers)
    head = CosineHead(model)
    features, labels, queries = (tf.cast(x, "float32") for x in task(5, 3, model.input_shape[-1]))
    labels = tf.cast(labels, tf.int32)
    *below, kernel, bias = tensors = head.start(features, labels, 5, Batch())
    assert not head.has_inner_loop and not np.any(bias)
    hidden = lambda rows: np.tanh(rows @ below[0] + below[1]) if below else rows.numpy()  # noqa: E731
    means = np.stack([hidden(features)[labels == c].mean(axis=0) for c in range(5)])
    np.testing.assert_allclose(kernel, means.T, rtol=1e-4, atol=1e-6)
    logits, _ = head(tensors, queries, Batch())
    unit = lambda rows: rows / np.linalg.norm(rows, axis=1, keepdims=True)  # noqa: E731
    np.testing.assert_allclose(logits, 10 * unit(hidden(queries)) @ unit(means).T, atol=1e-4)


def test_a_class_without_examples_has_the_mean_zero_and_the_cosine_zero():
    head = CosineHead(head_model())
    labels = tf.constant([0, 2])
    tensors = head.start(tf.ones([2, UNITS[1]]), labels, 3, Batch())
    logits, _ = head(tensors, tf.ones([1, UNITS[1]]), Batch())
    np.testing.assert_allclose(logits, [[10.0, 0.0, 10.0]], atol=1e-5)
