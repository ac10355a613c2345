"""Classification episodes: a gather from images grouped by class."""

from __future__ import annotations

import tensorflow as tf

from anil_tf.episodes import augment, sampling
from anil_tf.episodes.class_images import ClassImages

# Purposes of randomness inside one element; each has a seed of its own.
_CLASSES, _IMAGES, _SUPPORT_AUGMENTATION, _QUERY_AUGMENTATION = range(4)


def draw(
    source: ClassImages,
    seed: tf.Tensor,
    *,
    tasks: int,
    ways: int,
    shots: int,
    queries: int,
    augmented: bool = False,
) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """Draws an element of `Tasks` without replacement: distinct classes, and distinct images within a class.

    Images are ordered by label; which class has which label is random.
    """
    classes = sampling.draw_classes(
        sampling.derived_seed(seed, _CLASSES), tasks, len(source.sizes), ways
    )
    positions = sampling.draw_images(
        sampling.derived_seed(seed, _IMAGES),
        tf.gather(source.sizes, classes),
        int(source.sizes.max()),
        shots + queries,
    )
    indices = tf.gather(source.offsets, classes)[..., tf.newaxis] + positions
    support = _gather(source.images, indices[..., :shots])
    query = _gather(source.images, indices[..., shots:])
    if augmented:
        support = augment.crop_and_flip(support, sampling.derived_seed(seed, _SUPPORT_AUGMENTATION))
        query = augment.crop_and_flip(query, sampling.derived_seed(seed, _QUERY_AUGMENTATION))
    inputs = {
        "support_images": support,
        "support_labels": _labels(tasks, ways, shots),
        "query_images": query,
    }
    return inputs, _labels(tasks, ways, queries)


def _gather(images: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
    """The images at `indices` [tasks, ways, n], with ways and n joined."""
    tasks, ways, count = indices.shape
    return tf.gather(images, tf.reshape(indices, [tasks, ways * count]))


def _labels(tasks: int, ways: int, count: int) -> tf.Tensor:
    """Labels 0..ways-1, each `count` times, for every task."""
    return tf.tile(tf.repeat(tf.range(ways), count)[tf.newaxis], [tasks, 1])
