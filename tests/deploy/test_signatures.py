"""The functions of an export are adapt() and predict() of the learner."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import anil_tf
from anil_tf.deploy.signatures import Signatures
from tests.deploy.learners import (
    SETTINGS,
    WAYS,
    answers_of,
    learner_of,
    mixed_precision_learner,
    numbers,
    pixels,
    regression_learner,
)


def compiled(signatures, name):
    return tf.function(getattr(signatures, name), input_signature=signatures.specs(name))


def both_ways(signatures, support, labels, queries):
    """The answers of adapt and predict, and those of adapt_and_predict."""
    state = compiled(signatures, "adapt")(support, labels)
    (apart,) = compiled(signatures, "predict")(queries, state).values()
    (together,) = compiled(signatures, "adapt_and_predict")(support, labels, queries).values()
    return apart.numpy(), together.numpy()


@pytest.mark.parametrize(
    ("kind", "normalization"),
    [*((kind, "support") for kind in SETTINGS), ("prototype", "running"), ("MAML", "running")],
)
def test_they_equal_the_learner(kind, normalization):
    learner, task = learner_of(kind), pixels()
    signatures = Signatures(learner, normalization=normalization)
    expected = answers_of(learner, *task, normalization=normalization)
    for found in both_ways(signatures, *task):
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert ("embed" in signatures.names) == bool(learner.body.weights)


@pytest.mark.parametrize(
    ("make", "task"), [(mixed_precision_learner, pixels), (regression_learner, numbers)]
)
def test_so_do_those_of_a_body_in_bfloat16_and_of_a_regression(make, task):
    learner, task = make(), task()
    for found in both_ways(Signatures(learner, normalization="support"), *task):
        np.testing.assert_allclose(found, answers_of(learner, *task), atol=1e-6)


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
        expected = answers_of(learner, resized[0], labels, resized[1])
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_temperature_divides_the_logits():
    learner, task = learner_of("free"), pixels()
    signatures = Signatures(learner, normalization="support", temperature=2.5)
    logits = learner.adapt(*task[:2]).predict_logits(task[2])
    found = signatures.adapt_and_predict(*task)["probabilities"]
    np.testing.assert_allclose(found, tf.nn.softmax(logits / 2.5), atol=1e-6)


def test_a_query_is_its_own_affair_except_under_episode_which_is_what_evaluation_computes():
    """And none of them changes the learner."""
    learner, (support, labels, queries) = learner_of("prototype"), pixels(queries=6)
    before = [variable.numpy() for variable in learner.variables]
    together, apart = {}, {}
    for normalization in ("support", "running", "episode"):
        answer = Signatures(learner, normalization=normalization).adapt_and_predict
        together[normalization] = answer(support, labels, queries)["probabilities"]
        alone = answer(support, labels, queries[:1])["probabilities"]
        apart[normalization] = float(np.abs(together[normalization][:1] - alone).max())
    assert apart["support"] < 1e-6 and apart["running"] < 1e-6
    assert apart["episode"] > 1e-4
    assert Signatures(learner, normalization="episode").names == ("adapt_and_predict", "embed")
    parts = {"support_images": support, "support_labels": labels, "query_images": queries}
    logits = learner({name: part[None] for name, part in parts.items()}, training=False)[0]
    np.testing.assert_allclose(together["episode"], tf.nn.softmax(logits), atol=1e-6)
    for variable, value in zip(learner.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_embed_needs_no_task():
    learner, (support, _, _) = learner_of("free"), pixels()
    features = Signatures(learner, normalization="support").embed(support)["features"]
    expected = learner.body(tf.cast(support, tf.float32), training=False)
    np.testing.assert_allclose(features, tf.reshape(expected, [len(support), -1]), atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "refused"),
    [
        (
            "prototype",
            [
                ([0, 1, 3], "labels 0..ways-1"),
                ([1, 2, 3], "labels 0..ways-1"),
                ([-1, 0, 1], "labels 0..ways-1"),
                ([0, 0, 0], "ways of 2 or more"),
                ([0, 1, 2_000_000_000], "labels 0..ways-1"),
            ],
        ),
        (
            "free",
            [
                ([0, 1, 0], f"one learned row for each of {WAYS} classes"),
                ([0, 1, 2, 3], f"one learned row for each of {WAYS} classes"),
            ],
        ),
    ],
)
def test_labels_that_are_none_are_refused_in_the_graph(kind, refused):
    signatures = Signatures(learner_of(kind), normalization="support")
    adapt, answer = compiled(signatures, "adapt"), compiled(signatures, "adapt_and_predict")
    support, _, queries = pixels()
    for labels, said in refused:
        task = support[: len(labels)], np.array(labels, np.int32)
        with pytest.raises(tf.errors.InvalidArgumentError, match=said):
            adapt(*task)
        with pytest.raises(tf.errors.InvalidArgumentError, match=said):
            answer(*task, queries)


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


def test_a_body_of_no_size_is_refused():
    inputs = keras.Input((None, None, 1))
    tensor = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(2, 3)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2)(tensor))
    learner = anil_tf.MetaLearner(*anil_tf.models.split(model, 1))
    with pytest.raises(ValueError, match="images of one size"):
        Signatures(learner, normalization="support")
