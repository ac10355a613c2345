"""Resizing by two products is what Pillow and TensorFlow compute."""

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st
from PIL import Image

from anil_tf.deploy.resize import interpolate, resize, weights

SIZES = [((105, 105), (28, 28)), ((20, 31), (28, 28)), ((300, 200), (84, 84)), ((7, 90), (28, 20))]


def noise(height, width, channels, count=2):
    shape = (count, height, width, channels)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(("size", "wanted"), SIZES, ids=str)
def test_it_is_tensorflows_antialiased_bilinear_and_pillows_but_for_rounding(size, wanted):
    images = noise(*size, 3)
    found = resize(tf.constant(images), wanted).numpy()
    expected = tf.image.resize(images, wanted, method="bilinear", antialias=True)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    for image, resized in zip(images, found, strict=True):
        expected = Image.fromarray(image).resize(wanted[::-1], Image.Resampling.BILINEAR)
        # Pillow rounds to whole numbers twice, once for each axis.
        assert np.abs(resized - np.asarray(expected, np.float32)).max() < 1.01


def test_images_of_the_size_pass_to_the_bit_either_way():
    images = noise(28, 28, 1)
    for function in (resize, interpolate):
        np.testing.assert_array_equal(function(tf.constant(images), (28, 28)), images)


def test_one_graph_takes_all_sizes():
    function = tf.function(
        lambda images: resize(images, (8, 6)),
        input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)],
    )
    for height, width in [(8, 6), (5, 9), (40, 30)]:
        images = noise(height, width, 3, count=3)
        found = function(tf.constant(images))
        assert found.shape == (3, 8, 6, 3) and found.dtype == tf.float32
        expected = tf.image.resize(images, (8, 6), antialias=True)
        np.testing.assert_allclose(found, expected, atol=2e-3)
    assert function.get_concrete_function().structured_outputs.shape == [None, 8, 6, 3]


@hypothesis.given(length=st.integers(1, 300), wanted=st.integers(1, 100))
def test_weights_are_averages_symmetric_about_the_middle(length, wanted):
    matrix = weights(length, wanted).numpy()
    assert matrix.shape == (wanted, length)
    assert (matrix >= 0).all()
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(matrix, matrix[::-1, ::-1], atol=1e-4)
