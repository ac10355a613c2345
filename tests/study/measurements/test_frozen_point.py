"""The frozen point: what it is made of, and that it is the same each time."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from anil_tf.study.measurements.frozen_point import doubling, frozen_point
from tests.study.measurements.settings import SETTINGS


def test_same_settings_same_point_in_float64():
    one, other = frozen_point(SETTINGS), frozen_point(SETTINGS)
    for a, b in zip((*one.features(), *one.start), (*other.features(), *other.start), strict=True):
        assert a.dtype == tf.float64
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(one.query_labels, other.query_labels)
    assert keras.config.dtype_policy().name == "float32"  # as before


@pytest.mark.parametrize("head", ["linear", "two_layer"])
def test_losses_on_features_are_those_of_the_learner(head):
    point = frozen_point(SETTINGS | {"head": head})
    support, queries = point.features()
    assert support.shape[:2] == queries.shape[:2] == (2, 3)
    logits = point.learner(inner_steps=0)(point.inputs)
    expected = keras.losses.sparse_categorical_crossentropy(
        point.query_labels, logits, from_logits=True
    )
    losses = point.query_loss(point.start, queries)
    np.testing.assert_allclose(losses, tf.reduce_mean(expected, axis=-1), rtol=1e-12)


@pytest.mark.parametrize("head", ["linear", "two_layer"])
def test_the_problem_has_the_gradient_of_the_loss(head):
    point = frozen_point(SETTINGS | {"head": head, "inner_l2": 0.0})
    point = dataclasses.replace(point, query_labels=point.inputs["support_labels"])
    posed, (support, _) = point.pose(), point.features()
    with tf.GradientTape() as tape:
        tape.watch(posed.start)
        loss = tf.reduce_sum(point.query_loss(posed.start, support))
    expected = tape.gradient(loss, posed.start)
    found = posed.problem.gradient(point.start, [support], 0)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_nothing_on_the_way_is_rounded_to_float32():
    for head in ("linear", "two_layer"):
        point = frozen_point(SETTINGS | {"head": head})
        tensors = [part[0] for part in point.start]
        features = point.features()[0][0]
        moved = features * (1 + 1e-10)  # float32 would not see it
        difference = point.logits(tensors, moved) - point.logits(tensors, features)
        assert np.abs(difference).max() > 0


def test_first_takes_the_first_tasks():
    point = frozen_point(SETTINGS)
    one = point.first(1)
    assert (point.tasks, one.tasks) == (2, 1)
    np.testing.assert_array_equal(one.features()[0][0], point.features()[0][0])


def test_batch_statistics_are_those_of_the_task():
    point = frozen_point(SETTINGS | {"body": "conv4"})
    np.testing.assert_allclose(point.first(1).features()[0][0], point.features()[0][0], rtol=1e-9)


def test_another_head_is_refused():
    with pytest.raises(ValueError, match="head must be one of linear, two_layer, all"):
        frozen_point(SETTINGS | {"head": "cubic"})


def test_doubling():
    assert doubling(1) == [1]
    assert doubling(8) == [1, 2, 4, 8]
    assert doubling(30) == [1, 2, 4, 8, 16, 30]
