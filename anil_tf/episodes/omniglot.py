"""Omniglot at 28x28 with ink = 255: the Vinyals split, and background against evaluation."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from anil_tf.episodes import class_split, prepared
from anil_tf.episodes.class_images import ClassImages, from_classes

_SIDE = 28
_ROTATIONS = (0, 90, 180, 270)
_DRAWINGS = 20
# Background alphabets held out for validation: 5 of 30, with 172 of 964 characters.
VALIDATION_ALPHABETS = (
    "Armenian",
    "Burmese_(Myanmar)",
    "Early_Aramaic",
    "Malay_(Jawi_-_Arabic)",
    "Tifinagh",
)


def load(split: str, data_dir: str | None, *, rotated_tests: bool = False) -> ClassImages:
    """Loads the split of Vinyals et al. 2016.

    Rotations by 90 degrees are extra classes in train. Validation and test use the characters as
    drawn; published work differs here, and with Prototypical Networks (Snell et al. 2017) every
    rotation is a class in validation and test too: `rotated_tests`. That makes 4112 classes in train, 172 or 688 in
    validation and 423 or 1692 in test, each of 20 drawings, uint8 [20, 28, 28, 1].
    """
    drawings = _drawings(prepared.directory(data_dir))
    labels = class_split.published("omniglot_vinyals")["splits"][split]
    rotates = rotated_tests or split == "train"
    rotations = _ROTATIONS if rotates else (0,)
    shown = "characters in 4 rotations, each a class" if rotates else "characters as drawn"
    description = f"Vinyals split ({split}: {shown}, {len(labels) * len(rotations)} classes)"
    return _rotated(drawings, labels, rotations, description)


def load_background(split: str, data_dir: str | None) -> ClassImages:
    """Loads the split of Lake et al. 2015: train on background, test on evaluation alphabets.

    Validation takes five whole alphabets out of the background set. Rotations by 90 degrees are
    extra classes in train only; validation and test use the characters as drawn.
    """
    drawings = _drawings(prepared.directory(data_dir))
    rotations: Sequence[int] = (0,)
    if split == "test":
        labels = drawings.evaluation
        words = "20 evaluation alphabets, characters as drawn"
    else:
        held_out = split == "validation"
        labels = [
            label
            for label in drawings.background
            if (_alphabet(drawings.names[label]) in VALIDATION_ALPHABETS) == held_out
        ]
        words = "5 of the 30 background alphabets, held out, characters as drawn"
    if split == "train":
        rotations = _ROTATIONS
        words = "25 of the 30 background alphabets, characters in 4 rotations, each a class"
    description = (
        f"background/evaluation split of Lake et al. 2015 ({split}: {words},"
        f" {len(labels) * len(rotations)} classes)"
    )
    return _rotated(drawings, labels, rotations, description)


class _Drawings:
    """Every drawing of Omniglot, and which characters each of its two sets has.

    Attributes:
        by_label: uint8 [1623, 20, 28, 28, 1].
        names: the name of each label.
        background: labels of the background set.
        evaluation: labels of the evaluation set.
    """

    def __init__(self, data_dir: str | None):
        builder = prepared.open_builder("omniglot", data_dir)
        images, labels = zip(
            *(prepared.decode(builder, part, _to_image) for part in ("train", "test")),
            strict=True,
        )
        self.names = builder.info.features["label"].names
        self.background, self.evaluation = (np.unique(part).tolist() for part in labels)
        order = np.argsort(np.concatenate(labels), kind="stable")
        self.by_label = np.concatenate(images)[order].reshape(-1, _DRAWINGS, _SIDE, _SIDE, 1)


@functools.lru_cache(maxsize=1)
def _drawings(data_dir: str | None) -> _Drawings:
    """All drawings, decoded once for the three splits."""
    return _Drawings(data_dir)


def _to_image(encoded: tf.Tensor) -> tf.Tensor:
    """White strokes on black, averaged over areas of the 105x105 original."""
    ink = 255 - tf.ensure_shape(tf.io.decode_png(encoded, channels=1), [105, 105, 1])
    return tf.cast(tf.round(tf.image.resize(ink, [_SIDE, _SIDE], method="area")), tf.uint8)


def _alphabet(label_name: str) -> str:
    return label_name.rsplit("_", 1)[0]


def _rotated(
    drawings: _Drawings, labels: Sequence[int], rotations: Sequence[int], description: str
) -> ClassImages:
    """Each character in each rotation as a class."""
    images = drawings.by_label[list(labels)]
    by_rotation = [np.rot90(images, degrees // 90, axes=(2, 3)) for degrees in rotations]
    names = [drawings.names[label] for label in labels]
    return from_classes(
        [character for rotation in by_rotation for character in rotation],
        [f"{name}_rot{degrees:03d}" for degrees in rotations for name in names],
        description,
    )
