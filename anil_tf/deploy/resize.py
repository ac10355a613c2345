"""Images of any size to the size of a body, as the library's own data are resized.

Antialiased bilinear interpolation (a triangle filter as wide as the reduction): what Pillow's BILINEAR and
`tf.image.resize(antialias=True)` compute. Here it is two matrix products whose weights follow from the two sizes by
range, absolute value, maximum and division, so that every format of export can hold it.
"""

import tensorflow as tf


def resize(images: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Resizes images [n, height, width, channels] to float32 [n, *size, channels]; passes on those of that size."""
    has_size = tf.reduce_all(tf.shape(images)[1:3] == tf.constant(size))
    resized = tf.cond(
        has_size, lambda: tf.cast(images, tf.float32), lambda: interpolate(images, size)
    )
    return tf.ensure_shape(resized, [None, *size, images.shape[-1]])


def interpolate(images: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Resizes images by the two products, also those that have the size; see `resize`."""
    # By shapes alone, and no number computed from them: LiteRT then knows every size before it runs. The matrices stand
    # on the left: on the right of one-channel images TensorFlow 2.21 with oneDNN reads past their end.
    height, width = tf.shape(images)[1], tf.shape(images)[2]
    planes = tf.transpose(tf.cast(images, tf.float32), [0, 3, 1, 2])
    planes = tf.transpose(tf.matmul(weights(height, size[0]), planes), [0, 1, 3, 2])
    return tf.transpose(tf.matmul(weights(width, size[1]), planes), [0, 3, 2, 1])


def weights(length: int | tf.Tensor, new_length: int) -> tf.Tensor:
    """The matrix that resizes one axis, float32 [new_length, length]; for equal lengths the identity."""
    reduction = tf.cast(length, tf.float32) / new_length
    centres = (tf.range(new_length, dtype=tf.float32) + 0.5) * reduction
    pixels = tf.cast(tf.range(length), tf.float32) + 0.5
    distances = tf.abs(pixels[None, :] - centres[:, None])
    triangle = tf.maximum(0.0, 1.0 - distances / tf.maximum(reduction, 1.0))
    return triangle / tf.reduce_sum(triangle, axis=1, keepdims=True)
