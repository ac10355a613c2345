"""`load`: the one door to the data sets."""

from __future__ import annotations

from absl import logging

from anil_tf.episodes import registry
from anil_tf.episodes.class_split import SPLITS
from anil_tf.episodes.errors import DataError
from anil_tf.episodes.tasks import Tasks


def load(
    name: str,
    *,
    split: str,
    ways: int,
    shots: int,
    queries: int,
    meta_batch_size: int,
    seed: int,
    data_dir: str | None = None,
    augment: bool = False,
    leave_out_small_classes: bool = False,
    image_size: int | None = None,
    split_seed: int = 0,
) -> Tasks:
    """Loads one split of a data set as an endless supply of tasks.

    Args:
        name: glyphs, omniglot, omniglot_rotated, omniglot_background, cifar_fs, fc100, mini_imagenet, sinusoid,
            image_folder, or `tfds:NAME` for any TFDS data set with an image and a label.
        split: "train", "validation" or "test"; no class is in two of them.
        ways: classes in a task (sinusoid: ignored).
        shots: support images per class.
        queries: query images per class.
        meta_batch_size: tasks in one element.
        seed: the seed of the episodes.
        data_dir: TFDS' directory (default: the environment's TFDS_DATA_DIR, then TFDS' default),
            or the folder of `image_folder`.
        augment: shift and mirror colour images at random, in train only.
        leave_out_small_classes: leave out classes with fewer than shots + queries images, with a
            warning, where they would be refused otherwise.
        image_size: height and width to resize to, for `image_folder` and `tfds:NAME`; by default
            images keep their size, or become 84x84 where sizes differ.
        split_seed: the seed of the class split where none is published (`image_folder` without
            split folders, `tfds:NAME`). It is not `seed`, so that evaluating with another seed
            never tests on training classes.

    Returns:
        The tasks.

    Raises:
        DataError: if the data cannot be had, or cannot serve such tasks; one line.

    Example:
        >>> tasks = load("fc100", split="train", ways=5, shots=5, queries=10, meta_batch_size=8,
        ...              seed=0)
        >>> for inputs, query_labels in tasks.as_dataset().take(2):
        ...     print(inputs["support_images"].shape)
        (8, 25, 32, 32, 3)
        (8, 25, 32, 32, 3)
    """
    registry.check_name(name)
    if split not in SPLITS:
        raise DataError(f"unknown split {split!r}; accepted: {', '.join(SPLITS)}.")
    request = registry.Request(split, data_dir, split_seed, image_size)
    tasks = Tasks(
        name=name,
        split=split,
        source=registry.source(name, request),
        ways=ways,
        shots=shots,
        queries=queries,
        meta_batch_size=meta_batch_size,
        seed=seed,
        augment=augment and split == "train",
        leave_out_small_classes=leave_out_small_classes,
    )
    _warn_of_left_out_classes(tasks)
    return tasks


def _warn_of_left_out_classes(tasks: Tasks):
    kept = set(tasks.class_names)
    left_out = [name for name in tasks.source.class_names if name not in kept]
    if left_out:
        shown = ", ".join(left_out[:5]) + (", ..." if len(left_out) > 5 else "")
        logging.warning(
            "%s (%s): %d of %d classes have fewer than %d images and are left out: %s.",
            tasks.name,
            tasks.split,
            len(left_out),
            len(tasks.source.class_names),
            tasks.shots + tasks.queries,
            shown,
        )
