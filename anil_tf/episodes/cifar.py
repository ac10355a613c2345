"""CIFAR-FS and FC100: two class splits of CIFAR-100, over its training and test images."""

from __future__ import annotations

import functools

import numpy as np

from anil_tf.episodes import class_split, prepared
from anil_tf.episodes.class_images import ClassImages, from_labels


def load(name: str, split: str, data_dir: str | None) -> ClassImages:
    """Loads one split of "cifar_fs" (Bertinetto et al. 2019) or "fc100" (Oreshkin et al. 2018).

    Images are 32x32x3, 600 per class.
    """
    images, labels, names = _cifar100(prepared.directory(data_dir))
    lists = class_split.published(name)
    description = (
        f"{lists['name']} class split ({len(lists['splits'][split])} classes in {split}) over"
        " CIFAR-100's training and test images"
    )
    return from_labels(images, labels, lists["splits"][split], names, description)


@functools.lru_cache(maxsize=1)
def _cifar100(data_dir: str | None) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """All 60,000 images, decoded once for the three splits."""
    builder = prepared.open_builder("cifar100", data_dir)
    images, labels = prepared.decode(builder, "train+test")
    return images, labels, builder.info.features["label"].names
