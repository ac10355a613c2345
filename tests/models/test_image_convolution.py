"""A convolution that normalises its own output, against convolution and normalisation one after the other."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from anil_tf.models import conv4, resnet12, split
from anil_tf.models.image_convolution import normalized_convolution, normalized_convolutions
from anil_tf.models.normalization import Batch, task_statistics

SHAPES = [
    pytest.param({"kernel_size": 3, "padding": "same"}, 8, id="3x3 same"),
    pytest.param({"kernel_size": 3, "padding": "valid"}, 7, id="3x3 valid"),
    pytest.param(
        {"kernel_size": 3, "padding": "same", "strides": 2}, 7, id="3x3 same, stride 2, odd"
    ),
    pytest.param({"kernel_size": (2, 4), "padding": "same"}, 6, id="2x4 same"),
    pytest.param({"kernel_size": 1, "padding": "same"}, 5, id="1x1"),
    pytest.param({"kernel_size": 3, "padding": "same", "dilation_rate": 2}, 8, id="3x3 dilated"),
]


def first_layers(options, side, filters=40, dtype="float64"):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((side, side, 3), dtype=dtype)
    convolution = keras.layers.Conv2D(filters, use_bias=False, dtype=dtype, **options)
    normalization = keras.layers.BatchNormalization(dtype=dtype)
    model = keras.Model(inputs, normalization(convolution(inputs)))
    rng = np.random.default_rng(0)
    normalization.gamma.assign(rng.normal(size=filters))
    normalization.beta.assign(rng.normal(size=filters))
    return model, convolution, normalization


def images(side, rows=4):
    """Pixels far from zero, where second moments cancel."""
    return tf.constant(np.random.default_rng(1).normal(5.0, 1.0, size=[rows, side, side, 3]))


def one_after_the_other(convolution, images, kernel, scale, offset, rows):
    tensor = convolution.convolution_op(images, kernel)
    mean = tf.reduce_mean(tensor[:rows], [0, 1, 2])
    variance = tf.reduce_mean(tf.square(tensor[:rows] - mean), [0, 1, 2])
    return (tensor - mean) * tf.math.rsqrt(variance + 1e-3) * scale + offset, mean, variance


def up_to_second(function, arguments):
    """Outputs, first derivatives and a second derivative."""
    with tf.GradientTape() as outer:
        outer.watch(arguments)
        with tf.GradientTape() as inner:
            inner.watch(arguments)
            outputs = function(*arguments)
            value = tf.reduce_sum(tf.sin(outputs[0]))
        first = inner.gradient(value, arguments)
        value = tf.add_n([tf.reduce_sum(tf.sin(part)) for part in first])
    return outputs, first, outer.gradient(value, arguments)


@pytest.mark.parametrize(("options", "side"), SHAPES)
def test_it_equals_convolution_then_normalization(options, side):
    """Outputs, statistics, and first and second derivatives by images, filters, scale and offset, to 1e-9."""
    rows = 3 if side % 2 else None  # by turns
    _, convolution, normalization = first_layers(options, side)
    start = [images(side), *(tf.convert_to_tensor(v) for v in convolution.trainable_variables)]
    start += [tf.convert_to_tensor(v) for v in normalization.trainable_variables]

    class Borrowed:
        """The layer with another kernel."""

        convolution_op = convolution.convolution_op

        def __init__(self, kernel):
            self.kernel = kernel

    def together(images, kernel, scale, offset):
        layer = Borrowed(kernel)
        return normalized_convolution(layer, images, scale, offset, epsilon=1e-3, rows=rows)

    def apart(*arguments):
        return one_after_the_other(convolution, *arguments, rows)

    for one, other in zip(
        tf.nest.flatten(up_to_second(together, start)),
        tf.nest.flatten(up_to_second(apart, start)),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9 * np.abs(other).max())


def test_float32_loses_no_digits_to_bright_images():
    _, convolution, normalization = first_layers({"kernel_size": 3, "padding": "same"}, 16)
    bright = images(16) + 200.0
    arguments = [convolution.kernel, normalization.gamma, normalization.beta]
    exact, _, variance = one_after_the_other(convolution, bright, *arguments, None)
    single = first_layers({"kernel_size": 3, "padding": "same"}, 16, dtype="float32")[1]
    single.kernel.assign(convolution.kernel)
    outputs, _, found = normalized_convolution(
        single, tf.cast(bright, tf.float32), *arguments[1:], epsilon=1e-3
    )
    np.testing.assert_allclose(found, variance, rtol=1e-4)
    np.testing.assert_allclose(outputs, exact, atol=2e-3)


def test_only_first_layers_of_the_right_kind_are_found():
    body, _ = split(conv4(input_shape=(16, 16, 3), classes=5, filters=32), 1)
    kernels = [layer.kernel.shape for layer in normalized_convolutions(body).values()]
    assert kernels == [(3, 3, 3, 32)]
    assert not normalized_convolutions(conv4(input_shape=(16, 16, 3), classes=5, filters=8))
    found = normalized_convolutions(resnet12(input_shape=(32, 32, 3), classes=5)).values()
    assert all(np.prod(layer.kernel.shape[:3]) <= layer.filters for layer in found)


def test_another_consumer_or_a_bias_or_an_activation_keeps_the_layers_apart():
    def pair(branch=False, **options):
        inputs = keras.Input((8, 8, 3))
        options = {"use_bias": False, "padding": "same"} | options
        tensor = keras.layers.Conv2D(32, 3, **options)(inputs)
        normalized = keras.layers.BatchNormalization()(tensor)
        outputs = keras.layers.Add()([normalized, tensor]) if branch else normalized
        return len(normalized_convolutions(keras.Model(inputs, outputs)))

    assert pair() == 1
    assert pair(branch=True) == 0
    assert pair(use_bias=True) == 0
    assert pair(activation="relu") == 0


def test_the_model_gets_its_layers_back_and_records_the_statistics():
    model, convolution, _ = first_layers({"kernel_size": 3, "padding": "same"}, 8)
    plain = model(images(8), training=False)
    with task_statistics(model, Batch()) as used:
        outputs = model(images(8), training=False)
    expected = one_after_the_other(
        convolution, images(8), *(v for v in model.trainable_variables), None
    )
    np.testing.assert_allclose(outputs, expected[0], rtol=1e-9)
    np.testing.assert_allclose(used["0"][0], expected[1], rtol=1e-9)
    np.testing.assert_allclose(used["0"][1], expected[2], rtol=1e-9)
    np.testing.assert_array_equal(model(images(8), training=False), plain)
