"""Draws of classes and images without replacement, as pure functions of a stateless seed.

Both rank independent uniform numbers: the places of the k largest among n are a uniformly random
ordered choice of k out of n. Ranking works on all tasks and classes at once. The generator is
named (philox) so that every device and every host draws the same.
"""

from __future__ import annotations

import zlib

import tensorflow as tf

ALGORITHM = "philox"


def episode_seed(seed: int, split: str, step: tf.Tensor) -> tf.Tensor:
    """The stateless seed of one element, int64 [2]; the split takes part so that splits do not draw alike."""
    root = tf.constant([seed % 2**63, zlib.crc32(split.encode())], tf.int64)
    return derived_seed(root, step)


def derived_seed(seed: tf.Tensor, number: tf.Tensor | int) -> tf.Tensor:
    """A seed of its own for each `number`, such as a step or a purpose, under `seed`."""
    return tf.random.fold_in(seed, tf.cast(number, tf.int64), alg=ALGORITHM)


def draw_classes(seed: tf.Tensor, tasks: int, classes: int, ways: int) -> tf.Tensor:
    """Draws the classes of each task: int32 [tasks, ways], distinct numbers below `classes` in random order."""
    ranks = tf.random.stateless_uniform([tasks, classes], seed, alg=ALGORITHM)
    return tf.math.top_k(ranks, ways).indices


def draw_images(seed: tf.Tensor, sizes: tf.Tensor, largest: int, count: int) -> tf.Tensor:
    """Draws images of each class, every image of the class being equally likely.

    Args:
        seed: stateless seed, int64 [2].
        sizes: int32 [tasks, ways], how many images each drawn class has, at least `count`.
        largest: an upper bound of `sizes`.
        count: how many images to draw from each class.

    Returns:
        int32 [tasks, ways, count], distinct numbers below the class' size in random order.
    """
    ranks = tf.random.stateless_uniform([*sizes.shape, largest], seed, alg=ALGORITHM)
    present = tf.sequence_mask(sizes, largest)
    return tf.math.top_k(tf.where(present, ranks, -1.0), count).indices
