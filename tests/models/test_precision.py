"""A body in bfloat16, its weights in float32."""

import tensorflow as tf

from anil_tf.models import compute_in_bfloat16, mlp, split


def test_layers_compute_in_bfloat16_and_keep_their_weights_in_float32():
    body, head = split(mlp(input_shape=(4,), classes=3, units=(5,)), 1)
    images = tf.reshape(tf.range(8.0), [2, 4])
    exact = body(images)
    compute_in_bfloat16(body)
    rounded = body(images)
    assert rounded.dtype == tf.bfloat16
    assert {weight.dtype for weight in body.weights} == {"float32"}
    assert head(exact).dtype == tf.float32
    tf.debugging.assert_near(tf.cast(rounded, tf.float32), exact, rtol=0.03, atol=0.03)
