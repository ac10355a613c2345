"""Which classes go to train, validation and test: published lists, or a split by seed."""

from __future__ import annotations

import functools
import importlib.resources
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from anil_tf.episodes.errors import DataError

SPLITS = ("train", "validation", "test")
# The shares of mini-ImageNet and CIFAR-FS: 64, 16 and 20 of 100 classes.
_VALIDATION_SHARE, _TEST_SHARE = 0.16, 0.20


@functools.cache
def published(name: str) -> dict[str, Any]:
    """Reads a published list that the package carries.

    Args:
        name: the file's name in `anil_tf/episodes/splits` without its extension.

    Returns:
        A dict with "name", "reference", "source", "note" and "splits"; "splits" maps "train",
        "validation" and "test" to label ids (WordNet ids and names for mini-ImageNet).
    """
    file = importlib.resources.files("anil_tf.episodes") / "splits" / f"{name}.json"
    return json.loads(file.read_text(encoding="utf-8"))


def by_seed(class_names: Sequence[str], split: str, seed: int, origin: str) -> list[int]:
    """Splits classes at random: 64 % train, 16 % validation, 20 % test, at least one each.

    Args:
        class_names: the names of all classes, 3 at least.
        split: "train", "validation" or "test".
        seed: the split's seed; it is not the seed of the episodes, so that another seed there
            never moves a training class into the test.
        origin: what is split, for the error.

    Returns:
        The split's classes as sorted indices into `class_names`.
    """
    count = len(class_names)
    if count < len(SPLITS):
        raise DataError(
            f"{origin} has {count} class(es) ({', '.join(class_names)}); splitting the classes"
            " into train, validation and test needs at least 3."
        )
    test = max(1, round(_TEST_SHARE * count))
    validation = max(1, round(_VALIDATION_SHARE * count))
    order = np.random.default_rng(seed).permutation(count)
    parts = np.split(order, [count - validation - test, count - test])
    return sorted(int(index) for index in parts[SPLITS.index(split)])
