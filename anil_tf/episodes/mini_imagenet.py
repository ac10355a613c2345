"""mini-ImageNet at 84x84 from the user's copy; the split is that of Ravi and Larochelle 2017."""

from __future__ import annotations

import functools
import pathlib
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from anil_tf.episodes import class_split, image_files, prepared
from anil_tf.episodes.class_images import ClassImages, from_labels
from anil_tf.episodes.errors import DataError

_SIDE = 84
_FOLDERS = ("train", "val", "validation", "test")
_PICKLES = {
    "train": "mini-imagenet-cache-train.pkl",
    "validation": "mini-imagenet-cache-val.pkl",
    "test": "mini-imagenet-cache-test.pkl",
}
_INSTRUCTIONS = (
    "put there either the 100 class folders named by WordNet id (n01532829, ...), directly or in"
    " train, val and test, or the three files mini-imagenet-cache-{train,val,test}.pkl"
)


class MiniImagenet(tfds.core.GeneratorBasedBuilder):
    """100 classes of ImageNet at 84x84; its splits are the class split."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"In the manual directory, {_INSTRUCTIONS}."

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="100 classes of ImageNet, the split of Ravi and Larochelle 2017.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(_SIDE, _SIDE, 3), encoding_format="png"),
                    "label": tfds.features.ClassLabel(names=list(_names())),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://openreview.net/forum?id=rJY0-Kcll",
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        folder = pathlib.Path(dl_manager.manual_dir)
        if all((folder / name).is_file() for name in _PICKLES.values()):
            return {
                split: self._generate_examples(_pickled(folder / name))
                for split, name in _PICKLES.items()
            }
        folders = _class_folders(folder)
        return {
            split: self._generate_examples(_filed(folders, split)) for split in class_split.SPLITS
        }

    def _generate_examples(
        self, examples: Iterator[tuple[str, np.ndarray]]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        for number, (wordnet_id, image) in enumerate(examples):
            yield number, {"image": image, "label": wordnet_id}


def load(split: str, data_dir: str | None) -> ClassImages:
    """Loads one split, 64, 16 or 20 classes of uint8 [images, 84, 84, 3].

    At the first time the data are prepared from the user's copy, which lies in `downloads/manual/mini_imagenet` or
    `downloads/manual` under TFDS' directory.
    """
    builder = MiniImagenet(data_dir=prepared.directory(data_dir))
    if not prepared.is_on_disk(builder):
        config = tfds.download.DownloadConfig(manual_dir=str(_manual_dir(builder)))
        try:
            with prepared.quiet():
                builder.download_and_prepare(download_config=config)
        except OSError as error:
            raise DataError(
                f"mini-ImageNet cannot be prepared in {builder.data_dir} ({error}); give a"
                " writable directory with --data_dir or TFDS_DATA_DIR."
            ) from error
    images, labels = prepared.decode(builder, split)
    lists = class_split.published("mini_imagenet")
    wordnet_ids = builder.info.features["label"].names
    classes = [wordnet_ids.index(wordnet_id) for wordnet_id in lists["splits"][split]]
    description = f"{lists['name']} ({len(classes)} classes in {split})"
    names = [_names()[wordnet_id] for wordnet_id in wordnet_ids]
    return from_labels(images, labels, classes, names, description)


@functools.cache
def _names() -> dict[str, str]:
    """The class names by WordNet id, in the order of the labels."""
    splits = class_split.published("mini_imagenet")["splits"]
    return dict(sorted(item for names in splits.values() for item in names.items()))


def _manual_dir(builder: tfds.core.DatasetBuilder) -> pathlib.Path:
    """Where the user's copy lies."""
    parent = pathlib.Path(builder.data_dir_root).expanduser() / "downloads" / "manual"
    for folder in (parent / "mini_imagenet", parent):
        if folder.is_dir() and any(folder.iterdir()):
            return folder
    raise DataError(
        f"mini-ImageNet needs your own copy of its images in {parent / 'mini_imagenet'}, which is"
        f" missing or empty; {_INSTRUCTIONS}; --data_dir changes the directory before downloads/."
    )


def _class_folders(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """The folder of each class, by WordNet id."""
    parts = [folder, *(folder / name for name in _FOLDERS)]
    found = {
        wordnet_id: part / wordnet_id
        for wordnet_id in _names()
        for part in parts
        if (part / wordnet_id).is_dir()
    }
    missing = [wordnet_id for wordnet_id in _names() if wordnet_id not in found]
    if missing:
        raise DataError(
            f"{folder} lacks {len(missing)} of the {len(_names())} classes of mini-ImageNet"
            f" ({', '.join(missing[:3])}, ...); {_INSTRUCTIONS}."
        )
    return found


def _filed(folders: dict[str, pathlib.Path], split: str) -> Iterator[tuple[str, np.ndarray]]:
    """The images of a split's class folders, resized to 84x84."""
    for wordnet_id in class_split.published("mini_imagenet")["splits"][split]:
        paths = image_files.in_folder(folders[wordnet_id])
        if not paths:
            raise DataError(f"{folders[wordnet_id]} holds no images; {_INSTRUCTIONS}.")
        for path in paths:
            yield wordnet_id, image_files.read(path, (_SIDE, _SIDE), 3)


def _pickled(path: pathlib.Path) -> Iterator[tuple[str, np.ndarray]]:
    """The images of one of the known files: a dict with "image_data" and "class_dict"."""
    try:
        with path.open("rb") as file:
            content = _ArrayUnpickler(file, encoding="latin1").load()
        images, classes = content["image_data"], content["class_dict"]
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is not a mini-imagenet-cache file, a pickled dict with image_data and"
            f" class_dict ({type(error).__name__}: {error}); download it again."
        ) from error
    if images.shape[1:] != (_SIDE, _SIDE, 3) or images.dtype != np.uint8:
        raise DataError(
            f"{path} holds images of shape {images.shape[1:]} and type {images.dtype}, expected"
            f" ({_SIDE}, {_SIDE}, 3) of uint8; download it again."
        )
    for name, indices in classes.items():
        for index in indices:
            yield _wordnet_id(name, path), images[index]


def _wordnet_id(name: str, path: pathlib.Path) -> str:
    """The WordNet id of a class that may be given by its name."""
    if name in _names():
        return name
    for wordnet_id, words in _names().items():
        if words == name:
            return wordnet_id
    raise DataError(f"{path} names a class {name!r}, which is not in mini-ImageNet.")


class _ArrayUnpickler(pickle.Unpickler):
    """Loads arrays and plain containers only: a pickle from the web could run anything else."""

    _ALLOWED = {
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy.core.multiarray", "scalar"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy._core.numeric", "_frombuffer"),
        ("numpy.core.numeric", "_frombuffer"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("_codecs", "encode"),
        ("collections", "OrderedDict"),
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}")
        return super().find_class(module, name)
