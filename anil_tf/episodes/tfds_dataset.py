"""Any TFDS data set with an image and a label; its classes are split by seed."""

from __future__ import annotations

import functools

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from anil_tf.episodes import class_split, prepared
from anil_tf.episodes.class_images import ClassImages, from_labels
from anil_tf.episodes.errors import DataError

DEFAULT_SIDE = 84
_LABELLED_SPLITS = ("train", "validation", "test")


def load(
    name: str, split: str, data_dir: str | None, image_size: int | None, split_seed: int
) -> ClassImages:
    """Loads the classes of one split out of a TFDS data set.

    Args:
        name: TFDS' name, such as "mnist" or "emnist/letters".
        split: "train", "validation" or "test": a part of the classes, whatever TFDS' own splits.
        data_dir: TFDS' directory, or None.
        image_size: height and width of the images in memory; None keeps the data set's size, or
            takes 84 if its images differ in size.
        split_seed: the seed of the class split.

    Returns:
        The split's images by class, out of TFDS' train, validation and test examples together.
    """
    images, labels, names = _decoded(name, data_dir, image_size)
    present = np.unique(labels[labels >= 0]).tolist()  # some sets mark unlabelled images by -1
    present_names = [names[label] for label in present]
    chosen = class_split.by_seed(present_names, split, split_seed, f"tfds:{name}")
    description = (
        f"{len(present)} classes of TFDS {name} split by seed {split_seed}"
        f" ({len(chosen)} classes in {split}), all labelled images of TFDS' own splits"
    )
    return from_labels(images, labels, [present[index] for index in chosen], names, description)


@functools.lru_cache(maxsize=1)
def _decoded(
    name: str, data_dir: str | None, image_size: int | None
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """All labelled images, decoded once for the three splits."""
    builder = prepared.open_builder(name, data_dir)
    image_key, label_key = _image_and_label(builder)
    splits = [split for split in _LABELLED_SPLITS if split in builder.info.splits]
    images, labels = prepared.decode(
        builder,
        "+".join(splits or sorted(builder.info.splits)),
        _converter(builder.info.features[image_key], image_size),
        image_key=image_key,
        label_key=label_key,
    )
    return images, labels, builder.info.features[label_key].names


def _image_and_label(builder: tfds.core.DatasetBuilder) -> tuple[str, str]:
    """The names of the image and the label feature."""
    features = dict(builder.info.features)
    kinds = (tfds.features.Image, tfds.features.ClassLabel)
    supervised = [key for key in builder.info.supervised_keys or () if isinstance(key, str)]
    by_preference = [*(key for key in supervised if key in features), *features]
    image, label = (
        next((key for key in by_preference if isinstance(features[key], kind)), None)
        for kind in kinds
    )
    if image is None or label is None:
        raise DataError(
            f"tfds:{builder.name} has no image and class label at its top level (its features:"
            f" {', '.join(features)}); use a data set that has both."
        )
    if features[image].np_dtype != np.uint8:
        raise DataError(
            f"the images of tfds:{builder.name} are {np.dtype(features[image].np_dtype)};"
            " only uint8 images are accepted."
        )
    return image, label


def _converter(feature: tfds.features.Image, image_size: int | None):
    """The function that decodes one image and resizes it where needed."""
    height, width, channels = feature.shape
    channels = channels or 3
    fixed = height is not None and width is not None
    side = image_size or DEFAULT_SIDE
    size = (height, width) if fixed and image_size is None else (side, side)

    def to_image(encoded: tf.Tensor) -> tf.Tensor:
        image = tf.io.decode_image(encoded, channels=channels, expand_animations=False)
        if (height, width) != size:
            image = tf.image.resize(image, size, antialias=True)
            image = tf.saturate_cast(tf.round(image), tf.uint8)
        return tf.ensure_shape(image, [*size, channels])

    return to_image
