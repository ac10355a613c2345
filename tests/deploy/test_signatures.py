"""The functions of an export are adapt() and predict() of the learner."""

import numpy as np
import pytest
import tensorflow as tf

from anil_tf.deploy.signatures import Signatures
from tests.deploy.learners import (
    SETTINGS,
    learner_of,
    mixed_precision_learner,
    numbers,
    pixels,
    regression_learner,
)
from tests.learners import WAYS


def compiled(signatures, name):
    return tf.function(getattr(signatures, name), input_signature=signatures.specs(name))


def both_ways(signatures, support, labels, queries):
    """The answers of adapt and predict, and those of adapt_and_predict."""
    state = compiled(signatures, "adapt")(support, labels)
    (apart,) = compiled(signatures, "predict")(queries, state).values()
    (together,) = compiled(signatures, "adapt_and_predict")(support, labels, queries).values()
    return apart.numpy(), together.numpy()


@pytest.mark.parametrize("normalization", ["support", "running"])
@pytest.mark.parametrize("kind", SETTINGS)
def test_they_equal_the_learner(kind, normalization):
    learner, (support, labels, queries) = learner_of(kind), pixels()
    signatures = Signatures(learner, normalization=normalization)
    expected = learner.adapt(support, labels, normalization=normalization).predict(queries)
    for found in both_ways(signatures, support, labels, queries):
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert ("embed" in signatures.names) == bool(learner.body.weights)


def test_a_body_in_bfloat16_too():
    learner, (support, labels, queries) = mixed_precision_learner(), pixels()
    expected = learner.adapt(support, labels).predict(queries)
    for found in both_ways(Signatures(learner, normalization="support"), support, labels, queries):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_regression_gives_numbers():
    learner, (support, targets, queries) = regression_learner(), numbers()
    signatures = Signatures(learner, normalization="support")
    expected = learner.adapt(support, targets).predict(queries)
    for found in both_ways(signatures, support, targets, queries):
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert signatures.predict(queries, signatures.adapt(support, targets)).keys() == {"outputs"}


def test_any_ways_and_sizes_through_one_graph():
    learner = learner_of("prototype")
    signatures = Signatures(learner, normalization="support")
    adapt, predict = compiled(signatures, "adapt"), compiled(signatures, "predict")
    for ways, shots, side in [(2, 1, 16), (7, 3, 40), (5, 2, 9)]:
        support, labels, queries = pixels(side, ways, shots)
        found = predict(queries, adapt(support, labels))["probabilities"]
        resized = [
            tf.image.resize(images, (16, 16), antialias=True) for images in (support, queries)
        ]
        expected = learner.adapt(resized[0], labels).predict(resized[1])
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_temperature_divides_the_logits():
    learner, (support, labels, queries) = learner_of("free"), pixels()
    logits = learner.adapt(support, labels).predict_logits(queries)
    signatures = Signatures(learner, normalization="support", temperature=2.5)
    found = signatures.adapt_and_predict(support, labels, queries)["probabilities"]
    np.testing.assert_allclose(found, tf.nn.softmax(logits / 2.5), atol=1e-6)


def test_a_query_is_its_own_affair_except_under_episode():
    learner, (support, labels, queries) = learner_of("prototype"), pixels(queries=6)
    apart = {}
    for normalization in ("support", "running", "episode"):
        answer = Signatures(learner, normalization=normalization).adapt_and_predict
        together = answer(support, labels, queries)["probabilities"]
        alone = answer(support, labels, queries[:1])["probabilities"]
        apart[normalization] = float(np.abs(together[:1] - alone).max())
    assert apart["support"] < 1e-6 and apart["running"] < 1e-6
    assert apart["episode"] > 1e-4


def test_episode_is_what_evaluation_computes():
    learner, (support, labels, queries) = learner_of("zero"), pixels()
    signatures = Signatures(learner, normalization="episode")
    assert signatures.names == ("adapt_and_predict", "embed")
    batch = {
        "support_images": support[None],
        "support_labels": labels[None],
        "query_images": queries[None],
    }
    expected = tf.nn.softmax(learner(batch, training=False)[0])
    found = compiled(signatures, "adapt_and_predict")(support, labels, queries)["probabilities"]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_embed_needs_no_task():
    learner, (support, _, _) = learner_of("free"), pixels()
    signatures = Signatures(learner, normalization="support")
    features = signatures.embed(support)["features"]
    expected = learner.body(tf.cast(support, tf.float32), training=False)
    np.testing.assert_allclose(features, tf.reshape(expected, [len(support), -1]), atol=1e-5)


def with_labels(labels):
    support, _, queries = pixels()
    return support[: len(labels)], np.array(labels, np.int32), queries


@pytest.mark.parametrize(
    ("kind", "labels", "said"),
    [
        ("prototype", [0, 1, 3], "labels 0..ways-1"),
        ("prototype", [1, 2, 3], "labels 0..ways-1"),
        ("prototype", [-1, 0, 1], "labels 0..ways-1"),
        ("prototype", [0, 0, 0], "ways of 2 or more"),
        ("prototype", [0, 1, 2_000_000_000], "labels 0..ways-1"),
        ("free", [0, 1, 0], f"one learned row for each of {WAYS} classes"),
        ("free", [0, 1, 2, 3], f"one learned row for each of {WAYS} classes"),
    ],
)
def test_labels_that_are_none_are_refused_in_the_graph(kind, labels, said):
    signatures = Signatures(learner_of(kind), normalization="support")
    support, labels, queries = with_labels(labels)
    with pytest.raises(tf.errors.InvalidArgumentError, match=said):
        compiled(signatures, "adapt")(support, labels)
    with pytest.raises(tf.errors.InvalidArgumentError, match=said):
        compiled(signatures, "adapt_and_predict")(support, labels, queries)


def test_shapes_that_do_not_fit_are_refused_in_the_graph():
    signatures = Signatures(learner_of("prototype"), normalization="support")
    support, labels, queries = pixels()
    adapt, predict = compiled(signatures, "adapt"), compiled(signatures, "predict")
    for images, given in [(support, labels[:-1]), (support[:0], labels[:0])]:
        with pytest.raises(tf.errors.InvalidArgumentError, match="one label per support image"):
            adapt(images, given)
    with pytest.raises(tf.errors.InvalidArgumentError, match="1 pixel or more"):
        adapt(support[:, :0], labels)
    with pytest.raises((TypeError, ValueError)):
        adapt(np.repeat(support, 3, axis=-1), labels)
    state = dict(adapt(support, labels))
    state["bias"] = state["bias"][:-1]
    with pytest.raises(tf.errors.InvalidArgumentError, match="one number of ways"):
        predict(queries, state)


def test_nothing_is_changed():
    learner, (support, labels, queries) = learner_of("two layers"), pixels()
    before = [variable.numpy() for variable in learner.variables]
    for normalization in ("support", "running", "episode"):
        signatures = Signatures(learner, normalization=normalization)
        compiled(signatures, "adapt_and_predict")(support, labels, queries)
    for variable, value in zip(learner.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_a_body_of_no_size_is_refused():
    import keras

    import anil_tf

    inputs = keras.Input((None, None, 1))
    tensor = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(2, 3)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2)(tensor))
    learner = anil_tf.MetaLearner(*anil_tf.models.split(model, 1))
    with pytest.raises(ValueError, match="images of one size"):
        Signatures(learner, normalization="support")
