"""A convolution that normalises its own output, against convolution and normalisation one after the other."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from anil_tf.models import conv4, split
from anil_tf.models.image_convolution import normalized_convolution, normalized_convolutions
from anil_tf.models.normalization import Batch, task_statistics
from tests.adaptation.problems import assert_close

SHAPES = [
    pytest.param({"kernel_size": 3, "padding": "same"}, 6, id="same"),
    pytest.param({"kernel_size": 3, "padding": "same", "strides": 2}, 7, id="stride 2, odd"),
    pytest.param({"kernel_size": (2, 4), "padding": "valid"}, 6, id="2x4 valid"),
    pytest.param({"kernel_size": 3, "padding": "same", "dilation_rate": 2}, 7, id="dilated"),
]


def first_layers(options, side, filters=32, dtype="float64"):
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

    assert_close(up_to_second(together, start), up_to_second(apart, start), rtol=1e-9)


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


@pytest.mark.parametrize(
    ("found", "options"),
    [
        (1, {}),
        (0, {"branch": True}),
        (0, {"use_bias": True}),
        (0, {"activation": "relu"}),
        (0, {"filters": 26}),  # fewer than the 27 inputs of a filter
    ],
)
def test_another_consumer_a_bias_an_activation_or_few_filters_keep_the_layers_apart(found, options):
    options = {"filters": 27, "use_bias": False} | options
    branch = options.pop("branch", False)
    inputs = keras.Input((8, 8, 3))
    tensor = keras.layers.Conv2D(kernel_size=3, **options)(inputs)
    normalized = keras.layers.BatchNormalization()(tensor)
    outputs = keras.layers.Add()([normalized, tensor]) if branch else normalized
    assert len(normalized_convolutions(keras.Model(inputs, outputs))) == found


def test_of_conv4_the_first_layer_is_found():
    body, _ = split(conv4(input_shape=(16, 16, 3), classes=5, filters=32), 1)
    kernels = [layer.kernel.shape for layer in normalized_convolutions(body).values()]
    assert kernels == [(3, 3, 3, 32)]


def test_the_model_gets_its_layers_back_and_records_the_statistics():
    model, convolution, _ = first_layers({"kernel_size": 3, "padding": "same"}, 8)
    plain = model(images(8), training=False)
    with task_statistics(model, Batch()) as used:
        outputs = model(images(8), training=False)
    expected = one_after_the_other(
        convolution, images(8), *(v for v in model.trainable_variables), None
    )
    for found, value in zip([outputs, *used["0"]], expected, strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-9)
    np.testing.assert_array_equal(model(images(8), training=False), plain)
