"""A user's own images: a folder per class, in split folders or split by seed."""

from __future__ import annotations

import pathlib

from absl import logging

from anil_tf.episodes import class_split, image_files
from anil_tf.episodes.class_images import ClassImages, from_classes
from anil_tf.episodes.errors import DataError

DEFAULT_SIDE = 84
_LAYOUT = "expected DIR/{train,validation,test}/CLASS/*.{png,jpg,...} or DIR/CLASS/*.{png,jpg,...}"
_FOLDERS_OF_SPLIT = {
    "train": ("train",),
    "validation": ("validation", "val"),
    "test": ("test",),
}


def load(split: str, data_dir: str | None, image_size: int | None, split_seed: int) -> ClassImages:
    """Loads one split of an image folder; its images are grey if all of the folder are, else RGB.

    Args:
        split: "train", "validation" or "test".
        data_dir: the folder: `DIR/{train,validation,test}/CLASS/*` or `DIR/CLASS/*`.
        image_size: height and width of the images in memory; None keeps their size if all have
            one, and takes 84 otherwise.
        split_seed: the seed of the class split, for a folder without split folders.
    """
    folder = _existing(data_dir)
    if _split_folder(folder, "train") is None:
        classes = _classes(folder)
        _require_classes(classes, folder)
        everything = classes
        names = list(classes)
        chosen = class_split.by_seed(names, split, split_seed, f"the image folder {folder}")
        classes = {names[index]: classes[names[index]] for index in chosen}
        description = f"{len(names)} class folders split by seed {split_seed}"
    else:
        classes, everything = _classes_of_split(folder, split)
        description = "the user's split folders"
    size, channels = _common_shape(everything, image_size)
    return from_classes(
        [image_files.read_all(paths, size, channels) for paths in classes.values()],
        list(classes),
        f"{description} ({len(classes)} classes in {split})",
    )


def _existing(data_dir: str | None) -> pathlib.Path:
    if data_dir is None:
        raise DataError(
            f"--dataset=image_folder needs --data_dir=DIR, the folder of images; {_LAYOUT}."
        )
    folder = pathlib.Path(data_dir).expanduser()
    if not folder.is_dir():
        raise DataError(f"--data_dir={data_dir} is not a directory; {_LAYOUT}.")
    return folder


def _split_folder(folder: pathlib.Path, split: str) -> pathlib.Path | None:
    candidates = (folder / name for name in _FOLDERS_OF_SPLIT[split])
    return next((path for path in candidates if path.is_dir()), None)


def _classes(folder: pathlib.Path) -> dict[str, list[pathlib.Path]]:
    """The images of each class folder, by class name; empty folders are left out, said aloud."""
    folders = sorted(
        path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")
    )
    classes = {path.name: image_files.in_folder(path) for path in folders}
    for name, paths in classes.items():
        if not paths:
            logging.warning("%s holds no images and is left out.", folder / name)
    return {name: paths for name, paths in classes.items() if paths}


def _classes_of_split(
    folder: pathlib.Path, split: str
) -> tuple[dict[str, list[pathlib.Path]], dict[str, list[pathlib.Path]]]:
    """The classes of one split folder, and those of all of them under names of their own."""
    everything = {}
    for name in class_split.SPLITS:
        part = _split_folder(folder, name)
        found = {} if part is None else _classes(part)
        everything.update({(name, label): paths for label, paths in found.items()})
    classes = {label: paths for (part, label), paths in everything.items() if part == split}
    if not classes:
        raise DataError(
            f"{folder} has no folder of classes for {split}"
            f" ({' or '.join(_FOLDERS_OF_SPLIT[split])}); {_LAYOUT}."
        )
    _require_classes(classes, folder / split)
    return classes, {"/".join(key): paths for key, paths in everything.items()}


def _require_classes(classes: dict[str, list[pathlib.Path]], folder: pathlib.Path):
    if len(classes) < 2:
        found = f"one class ({next(iter(classes))})" if classes else "no class"
        raise DataError(f"{folder} holds {found}, but tasks need at least two; {_LAYOUT}.")


def _common_shape(
    classes: dict[str, list[pathlib.Path]], image_size: int | None
) -> tuple[tuple[int, int], int]:
    """One height, width and number of channels for all splits alike, from the files' headers."""
    shapes = {image_files.shape(path) for paths in classes.values() for path in paths}
    channels = max(channels for _, _, channels in shapes)
    sizes = {(height, width) for height, width, _ in shapes}
    if image_size is not None:
        return (image_size, image_size), channels
    if len(sizes) == 1:
        return sizes.pop(), channels
    logging.info("Images differ in size and are resized to %d pixels square.", DEFAULT_SIDE)
    return (DEFAULT_SIDE, DEFAULT_SIDE), channels
