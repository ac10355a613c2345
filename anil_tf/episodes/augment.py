"""Random shifts and mirror images of colour images, as a pure function of a stateless seed."""

from __future__ import annotations

import tensorflow as tf

from anil_tf.episodes.sampling import ALGORITHM, derived_seed

PADDING = 4
_SHIFTS, _FLIPS = range(2)


def crop_and_flip(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Crops each image at random out of its zero-padded self, and mirrors half of them.

    The crop with a padding of 4 pixels and the horizontal flip are the usual augmentation of
    CIFAR images (He et al. 2016, arXiv:1512.03385, section 4.2).

    Args:
        images: uint8 [..., height, width, channels], of known shape; each gets a shift and a flip of its own.
        seed: stateless seed, int64 [2].
    """
    height, width, channels = images.shape[-3:]
    count = images.shape[:-3].num_elements()
    shifts = tf.random.stateless_uniform(
        [count, 2], derived_seed(seed, _SHIFTS), -PADDING, PADDING + 1, tf.int32, alg=ALGORITHM
    )
    flips = tf.random.stateless_uniform([count], derived_seed(seed, _FLIPS), alg=ALGORITHM) < 0.5
    rows = tf.range(height) + shifts[:, :1]
    columns = tf.where(flips[:, tf.newaxis], tf.range(width)[::-1], tf.range(width))
    pixels = _pixel_indices(rows, columns + shifts[:, 1:], height, width)
    # One gather of whole pixels, with a black one at the end for what lies outside: over twice as
    # fast on a CPU as a projective transform, or as a gather of rows and one of columns.
    flat = tf.concat([tf.reshape(images, [-1, channels]), tf.zeros([1, channels], tf.uint8)], 0)
    return tf.reshape(tf.gather(flat, pixels), images.shape)


def _pixel_indices(rows: tf.Tensor, columns: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Where each pixel comes from, int32 [images, height, width]; outside: one past the last."""
    count = rows.shape[0]
    first = tf.range(count)[:, tf.newaxis, tf.newaxis] * (height * width)
    inside_rows = (rows >= 0) & (rows < height)
    inside_columns = (columns >= 0) & (columns < width)
    inside = inside_rows[:, :, tf.newaxis] & inside_columns[:, tf.newaxis, :]
    places = first + rows[:, :, tf.newaxis] * width + columns[:, tf.newaxis, :]
    return tf.where(inside, places, count * height * width)
