"""The fused kernels' derivatives, against plain operations in float64, which tapes differentiate exactly."""

import numpy as np
import pytest
import tensorflow as tf

from anil_tf.models.batch_normalization import batch_normalize

EPSILON = 1e-3


def plain(images, scale, offset):
    mean = tf.reduce_mean(images, [0, 1, 2])
    variance = tf.reduce_mean(tf.square(images - mean), [0, 1, 2])
    outputs = (images - mean) * tf.math.rsqrt(variance + EPSILON) * scale + offset
    return outputs, mean, variance


def fused(images, scale, offset):
    return batch_normalize(images, scale, offset, epsilon=EPSILON)


def normal(seed, *shape):
    return tf.constant(np.random.default_rng(seed).normal(size=shape))


def arguments(dtype):
    images = 2.0 * normal(0, 4, 3, 3, 2) + 1.0
    return [tf.cast(part, dtype) for part in (images, [1.3, -0.7], [0.2, 0.1])]


def up_to_second(operation, dtype):
    """Outputs, first derivatives of a function of them, and derivatives of a function of these."""
    inputs = arguments(dtype)
    weight, other = (tf.cast(normal(seed, 4, 3, 3, 2), dtype) for seed in (1, 2))
    with tf.GradientTape() as outer:
        outer.watch(inputs)
        with tf.GradientTape() as inner:
            inner.watch(inputs)
            outputs, mean, variance = operation(*inputs)
            value = tf.reduce_sum(tf.sin(outputs) * weight)
        first = inner.gradient(value, inputs)
        value = tf.reduce_sum(first[0] * other) + tf.reduce_sum(tf.sin(first[1])) + first[2][0] ** 2
    return [outputs, mean, variance], first, outer.gradient(value, inputs)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_outputs_and_two_derivatives_equal_plain_operations(jit_compile):
    """Eagerly, and compiled by XLA."""
    computed = lambda: up_to_second(fused, tf.float32)  # noqa: E731
    computed = tf.function(computed, jit_compile=True) if jit_compile else computed
    exact = tf.nest.flatten(up_to_second(plain, tf.float64))
    for one, other in zip(tf.nest.flatten(computed()), exact, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6 * np.abs(other).max())


def test_a_graph_loop_can_be_differentiated_twice():
    """TensorFlow's own derivative of the gradient kernel reports wrong shapes, on which loops fail."""
    images, scale, offset = arguments(tf.float32)

    def slope_of_one(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            value = tf.reduce_sum(tf.sin(fused(images, scale, offset)[0]))
        return tape.gradient(value, images)

    @tf.function
    def in_a_loop(stacked):
        with tf.GradientTape() as tape:
            tape.watch(stacked)
            value = tf.reduce_sum(tf.map_fn(tf.function(slope_of_one), stacked) ** 2)
        return tape.gradient(value, stacked)

    with tf.GradientTape() as tape:
        tape.watch(images)
        value = tf.reduce_sum(slope_of_one(images) ** 2)
    alone = tape.gradient(value, images)
    together = in_a_loop(tf.stack([images, images]))
    np.testing.assert_allclose(together[1], alone, rtol=1e-4, atol=1e-5)


def test_bfloat16_images_keep_their_precision_and_float32_statistics():
    images, scale, offset = arguments(tf.float32)
    outputs, mean, variance = fused(tf.cast(images, tf.bfloat16), scale, offset)
    exact = plain(*arguments(tf.float64))
    assert (outputs.dtype, mean.dtype, variance.dtype) == (tf.bfloat16, tf.float32, tf.float32)
    np.testing.assert_allclose(tf.cast(outputs, tf.float64), exact[0], atol=0.03)
    np.testing.assert_allclose(mean, exact[1], atol=0.01)


def test_third_derivatives_are_refused_and_not_wrong():
    images, scale, offset = arguments(tf.float32)
    with tf.GradientTape() as third:
        third.watch(images)
        with tf.GradientTape() as second:
            second.watch(images)
            with tf.GradientTape() as first:
                first.watch(images)
                value = tf.reduce_sum(fused(images, scale, offset)[0] ** 3)
            value = tf.reduce_sum(first.gradient(value, images) ** 2)
        value = tf.reduce_sum(second.gradient(value, images) ** 2)
    with pytest.raises(NotImplementedError, match="Third derivatives .* float64"):
        third.gradient(value, images)
