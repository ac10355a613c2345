"""mini-ImageNet's builder, on small made files."""

import pickle

import numpy as np
import pytest
from PIL import Image

from anil_tf.episodes import DataError, class_split, load, mini_imagenet

SETTINGS = dict(ways=5, shots=1, queries=1, meta_batch_size=1, seed=0)
SPLITS = class_split.published("mini_imagenet")["splits"]
SHORT = {"train": "train", "validation": "val", "test": "test"}


def value(wordnet_id):
    """A grey level that tells the class."""
    return 2 * sorted(mini_imagenet._names()).index(wordnet_id)


def write_folders(manual, layout):
    for split, classes in SPLITS.items():
        for wordnet_id in classes:
            parent = manual / SHORT[split] if layout == "split" else manual
            (parent / wordnet_id).mkdir(parents=True)
            for number, size in enumerate([(84, 84), (100, 90)]):
                image = Image.new("RGB", size, (value(wordnet_id),) * 3)
                image.save(parent / wordnet_id / f"{number}.png")


def write_pickles(manual, by_name):
    manual.mkdir(parents=True)
    for split, classes in SPLITS.items():
        levels = np.repeat([value(wordnet_id) for wordnet_id in classes], 2).astype(np.uint8)
        images = np.broadcast_to(levels[:, None, None, None], (len(levels), 84, 84, 3)).copy()
        keys = classes.values() if by_name else classes
        indices = {key: [2 * place, 2 * place + 1] for place, key in enumerate(keys)}
        with open(manual / f"mini-imagenet-cache-{SHORT[split]}.pkl", "wb") as file:
            pickle.dump({"image_data": images, "class_dict": indices}, file, protocol=2)


WRITERS = {
    "split folders": lambda manual: write_folders(manual, "split"),
    "pickles by id": lambda manual: write_pickles(manual, by_name=False),
    "pickles by name": lambda manual: write_pickles(manual, by_name=True),
}


def manual_of(folder):
    return folder / "downloads" / "manual" / "mini_imagenet"


def error_of(folder):
    with pytest.raises(DataError) as caught:
        load("mini_imagenet", split="train", data_dir=str(folder), **SETTINGS)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("layout", WRITERS)
def test_each_layout_gives_the_published_split(layout, tmp_path):
    WRITERS[layout](manual_of(tmp_path))
    for split, classes in SPLITS.items():
        tasks = load("mini_imagenet", split=split, data_dir=str(tmp_path), **SETTINGS)
        assert tasks.class_names == tuple(classes.values())
        assert tasks.image_shape == (84, 84, 3)
        levels = tasks.source.images.numpy().reshape(len(classes), 2, -1)
        expected = np.array([value(wordnet_id) for wordnet_id in classes], np.uint8)
        np.testing.assert_array_equal(levels.min(axis=(1, 2)), expected)
        np.testing.assert_array_equal(levels.max(axis=(1, 2)), expected)


def test_folders_without_splits_serve_and_so_does_the_manual_directory_itself(tmp_path):
    write_folders(tmp_path / "downloads" / "manual", "flat")
    tasks = load("mini_imagenet", split="test", data_dir=str(tmp_path), **SETTINGS)
    assert len(tasks.class_names) == 20


def test_a_missing_manual_directory_says_what_to_put_where(tmp_path):
    message = error_of(tmp_path)
    assert str(manual_of(tmp_path)) in message
    assert "n01532829" in message
    assert "mini-imagenet-cache-{train,val,test}.pkl" in message


def test_missing_classes_are_counted(tmp_path):
    (manual_of(tmp_path) / "n01532829").mkdir(parents=True)
    message = error_of(tmp_path)
    assert "lacks 99 of the 100 classes" in message and "n01558993" in message


def test_a_corrupt_image_is_named(tmp_path):
    write_folders(manual_of(tmp_path), "flat")
    path = manual_of(tmp_path) / "n01532829" / "0.png"
    path.write_bytes(b"broken")
    assert str(path) in error_of(tmp_path)
    # Nothing half-built is taken for the data at the next try.
    assert str(path) in error_of(tmp_path)


def test_a_directory_that_cannot_be_written_is_said(tmp_path, monkeypatch):
    def failing(*_, **__):
        raise OSError(30, "Read-only file system")

    write_folders(manual_of(tmp_path), "flat")
    monkeypatch.setattr(mini_imagenet.MiniImagenet, "download_and_prepare", failing)
    message = error_of(tmp_path)
    assert "Read-only file system" in message
    assert "--data_dir" in message


class Evil:
    def __reduce__(self):
        return (print, ("run by a pickle",))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (Evil(), "it refers to"),
        ({"image_data": np.zeros((1, 84, 84, 3), np.uint8)}, "class_dict"),
        ({"image_data": np.zeros((1, 32, 32, 3), np.uint8), "class_dict": {}}, "expected (84, 84"),
        (
            {"image_data": np.zeros((1, 84, 84, 3), np.uint8), "class_dict": {"n1": [0]}},
            "'n1', which is not in mini-ImageNet",
        ),
    ],
)
def test_pickles_that_are_something_else_are_refused(tmp_path, content, words, capsys):
    manual = manual_of(tmp_path)
    write_pickles(manual, by_name=False)
    path = manual / "mini-imagenet-cache-train.pkl"
    path.write_bytes(pickle.dumps(content, protocol=2))
    message = error_of(tmp_path)
    assert words in message
    assert str(path) in message
    assert "run by a pickle" not in capsys.readouterr().out
