"""Where batch normalisation takes its statistics from."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from anil_tf.models.normalization import (
    Batch,
    Given,
    Moving,
    task_statistics,
    update_moving_statistics,
)


def model_of(shape, dtype="float32"):
    inputs = keras.Input(shape, dtype=dtype)
    norm = keras.layers.BatchNormalization(dtype=dtype)
    model = keras.Model(inputs, norm(inputs))
    norm.gamma.assign([0.5, 2.0])
    norm.beta.assign([1.0, -1.0])
    return model


def by_hand(x, rows):
    axes = tuple(range(x.ndim - 1))
    mean, variance = rows.mean(axes), rows.var(axes)
    return (x - mean) / np.sqrt(variance + 1e-3) * [0.5, 2.0] + [1.0, -1.0], mean, variance


@pytest.mark.parametrize(
    ("shape", "dtype", "rows"),
    [
        ((2,), "float64", 3),
        ((4, 4, 2), "float32", 3),
        ((4, 4, 2), "float32", None),  # the fused kernels
    ],
)
def test_batch_statistics_equal_numpy(shape, dtype, rows):
    x = np.random.default_rng(0).normal(2.0, 3.0, size=[8, *shape]).astype(dtype)
    model = model_of(shape, dtype)
    with task_statistics(model, Batch(rows=rows)) as used:
        outputs = model(x, training=False)
    expected, mean, variance = by_hand(x, x[:rows])
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(used["0"][0], mean, rtol=1e-5)
    np.testing.assert_allclose(used["0"][1], variance, rtol=1e-5)


@pytest.mark.parametrize("rows", [None, 5])
def test_second_derivatives_equal_central_differences(rows):
    """`tf.nn.moments` would fail here: it holds the mean constant inside the variance."""
    rng = np.random.default_rng(0)
    x, weights, direction = (tf.constant(rng.normal(size=[8, 2])) for _ in range(3))
    model = model_of((2,), "float64")

    def slope(x):
        with tf.GradientTape() as tape, task_statistics(model, Batch(rows=rows)):
            tape.watch(x)
            value = tf.reduce_sum(tf.sin(model(x, training=False)) * weights)
        return tf.reduce_sum(tape.gradient(value, x) * weights[::-1])

    with tf.GradientTape() as tape:
        tape.watch(x)
        value = slope(x)
    along = float(tf.reduce_sum(tape.gradient(value, x) * direction))
    difference = (slope(x + 1e-5 * direction) - slope(x - 1e-5 * direction)) / 2e-5
    assert along == pytest.approx(float(difference), rel=1e-7)


def test_given_statistics_repeat_the_recorded_pass():
    x = np.random.default_rng(0).normal(size=[8, 4, 4, 2]).astype("float32")
    model = model_of((4, 4, 2))
    with task_statistics(model, Batch()) as used:
        first = model(x, training=False)
    with task_statistics(model, Given(used)):
        second = model(x[5:6], training=False)
    np.testing.assert_allclose(second, first[5:6], atol=1e-5)


@pytest.mark.parametrize("frozen", [False, True])
def test_nothing_is_changed_and_the_layer_is_given_back(frozen):
    """A frozen layer goes on with its moving statistics, whatever the source."""
    x = np.random.default_rng(0).normal(size=[8, 2]).astype("float32")
    model = model_of((2,))
    model.trainable = not frozen
    before, plain = model.get_weights(), model(x, training=False)
    with task_statistics(model, Batch()) as used:
        outputs = model(x, training=True)
    assert (used == {}) == np.array_equal(outputs, plain) == frozen
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_array_equal(model(x, training=False), plain)
    with task_statistics(model, Moving()):
        np.testing.assert_array_equal(model(x, training=False), plain)


def test_moving_statistics_move_once_by_the_mean_over_tasks():
    model = model_of((2,))
    mean, variance = tf.constant([[1.0, 2.0], [3.0, 4.0]]), tf.constant([[4.0, 4.0], [8.0, 8.0]])
    update_moving_statistics(model, {"0": (mean, variance)})
    layer = model.layers[-1]
    np.testing.assert_allclose(layer.moving_mean, [0.02, 0.03], rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, [1.05, 1.05], rtol=1e-5)
