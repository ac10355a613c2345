"""Images in memory, grouped by class: what image episodes are drawn from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True, eq=False)
class ClassImages:
    """All images of one split, each class a contiguous run of one uint8 tensor.

    Class `c` is `images[offsets[c] : offsets[c] + sizes[c]]`; classes may differ in size.

    Attributes:
        images: uint8 tensor [images, height, width, channels], values 0..255, in host memory.
        offsets: int32 array [classes], where each class starts.
        sizes: int32 array [classes], how many images each class has.
        class_names: one name per class.
        split_description: how the classes came to be in this split, a phrase for protocols.
    """

    images: tf.Tensor
    offsets: np.ndarray
    sizes: np.ndarray
    class_names: tuple[str, ...]
    split_description: str = ""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of every image."""
        return tuple(self.images.shape[1:])

    def at_least(self, images_per_class: int) -> ClassImages:
        """The same images without the classes that have fewer than `images_per_class`."""
        kept = np.flatnonzero(self.sizes >= images_per_class)
        if len(kept) == len(self.sizes):
            return self
        return dataclasses.replace(
            self,
            offsets=self.offsets[kept],
            sizes=self.sizes[kept],
            class_names=tuple(self.class_names[index] for index in kept),
        )


def from_classes(
    images_by_class: Sequence[np.ndarray],
    class_names: Sequence[str],
    split_description: str = "",
) -> ClassImages:
    """Joins one array of images per class, uint8 [images, height, width, channels], all of one size."""
    sizes = np.array([len(images) for images in images_by_class], np.int32)
    # The tensor stays on the host: datasets gather from it there, and only episodes travel.
    with tf.device("CPU:0"):
        images = tf.constant(np.concatenate(images_by_class), tf.uint8)
    offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int32)
    return ClassImages(images, offsets, sizes, tuple(class_names), split_description)


def from_labels(
    images: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[int],
    label_names: Sequence[str],
    split_description: str = "",
) -> ClassImages:
    """Picks the images of some classes out of a labelled set, in their order within the class.

    Args:
        images: uint8 array [images, height, width, channels].
        labels: integer array [images].
        classes: the labels to pick; class `c` of the result is `classes[c]`.
        label_names: the name of every label, indexed by label.
        split_description: a phrase for protocols.
    """
    return from_classes(
        [images[labels == label] for label in classes],
        [label_names[label] for label in classes],
        split_description,
    )
