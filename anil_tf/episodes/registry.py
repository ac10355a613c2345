"""The data sets by name, each with the function that loads one split of it.

All these functions take the split ("train", "validation" or "test") and `data_dir` (TFDS' directory or an image folder,
None for the default), and raise a DataError for data that cannot be had or used.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
from collections.abc import Callable

from anil_tf.episodes import (
    cifar,
    glyphs,
    image_folder,
    mini_imagenet,
    omniglot,
    prepared,
    tfds_dataset,
)
from anil_tf.episodes.class_images import ClassImages
from anil_tf.episodes.errors import DataError
from anil_tf.episodes.sinusoid import Sinusoids

TFDS_PREFIX = "tfds:"


@dataclasses.dataclass(frozen=True)
class Request:
    """What a data set needs to know to load one split.

    Attributes:
        split: "train", "validation" or "test".
        data_dir: TFDS' directory or an image folder; None for the default.
        split_seed: the seed of a class split that is not published.
        image_size: height and width to resize to; None keeps images that all have one size.
    """

    split: str
    data_dir: str | None
    split_seed: int
    image_size: int | None


Source = ClassImages | Sinusoids
DATASETS: dict[str, Callable[[Request], Source]] = {
    "glyphs": lambda asked: glyphs.load(asked.split, asked.data_dir),
    "omniglot": lambda asked: omniglot.load(asked.split, asked.data_dir),
    "omniglot_rotated": lambda asked: omniglot.load(
        asked.split, asked.data_dir, rotated_tests=True
    ),
    "omniglot_background": lambda asked: omniglot.load_background(asked.split, asked.data_dir),
    "cifar_fs": lambda asked: cifar.load("cifar_fs", asked.split, asked.data_dir),
    "fc100": lambda asked: cifar.load("fc100", asked.split, asked.data_dir),
    "mini_imagenet": lambda asked: mini_imagenet.load(asked.split, asked.data_dir),
    "sinusoid": lambda asked: Sinusoids(),
    "image_folder": lambda asked: image_folder.load(
        asked.split, asked.data_dir, asked.image_size, asked.split_seed
    ),
}


def check_name(name: str):
    """Raises a DataError with the closest names unless `name` is a data set or `tfds:NAME`."""
    if name in DATASETS or (name.startswith(TFDS_PREFIX) and name != TFDS_PREFIX):
        return
    close = difflib.get_close_matches(name, DATASETS, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    raise DataError(
        f"unknown --dataset={name}; {hint}accepted: {', '.join(sorted(DATASETS))}, or"
        " tfds:NAME for any TFDS data set with an image and a label."
    )


def source(name: str, request: Request) -> Source:
    """Loads one split of a data set or of `tfds:NAME`; asked again, the images in memory are shared."""
    if name == "image_folder":  # not shared: its owner may add images between two calls
        return DATASETS[name](request)
    folder = prepared.directory(request.data_dir)
    return _shared_source(name, dataclasses.replace(request, data_dir=folder))


@functools.lru_cache(maxsize=6)
def _shared_source(name: str, request: Request) -> Source:
    if not name.startswith(TFDS_PREFIX):
        return DATASETS[name](request)
    return tfds_dataset.load(
        name.removeprefix(TFDS_PREFIX),
        request.split,
        request.data_dir,
        request.image_size,
        request.split_seed,
    )
