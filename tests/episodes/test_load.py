"""The door: names, splits, sharing and one-line errors."""

import socket

import pytest
from absl import logging

from anil_tf.episodes import DATASETS, DataError, load

SETTINGS = dict(split="train", ways=2, shots=1, queries=1, meta_batch_size=1, seed=0)


def error_of(name, **changes):
    with pytest.raises(DataError) as caught:
        load(name, **(SETTINGS | changes))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "right"), [("omnigolt", "omniglot"), ("cifarfs", "cifar_fs"), ("fc-100", "fc100")]
)
def test_an_unknown_name_gets_the_closest_ones(wrong, right):
    message = error_of(wrong)
    assert f"unknown --dataset={wrong}; did you mean {right}" in message
    assert all(name in message for name in DATASETS)


def test_an_unknown_split_gets_the_known_ones():
    assert "accepted: train, validation, test" in error_of("sinusoid", split="val")


def test_a_missing_directory_is_named():
    assert "--data_dir=/nowhere/at/all is not a directory" in error_of(
        "fc100", data_dir="/nowhere/at/all"
    )


@pytest.mark.parametrize(("name", "tfds_name"), [("fc100", "cifar100"), ("omniglot", "omniglot")])
def test_without_network_the_message_says_what_would_serve(name, tfds_name, tmp_path, monkeypatch):
    def no_network(*_):
        raise socket.gaierror("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    monkeypatch.setattr("urllib.request.getproxies", dict)
    message = error_of(name, data_dir=str(tmp_path))
    assert f"{tfds_name} is not in {tmp_path}" in message
    assert "no network" in message
    assert "--data_dir" in message
    assert "TFDS_DATA_DIR" in message


def test_a_failed_download_is_one_line(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    def failing(*_, **__):
        raise ConnectionError("first line\nsecond line")

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [])
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", failing)
    message = error_of("fc100", data_dir=str(tmp_path))
    assert "ConnectionError: first line second line" in message
    assert "TFDS_DATA_DIR" in message


def test_left_out_classes_are_warned_of(tmp_path, write_images, monkeypatch):
    for name, count in (("ant", 4), ("bee", 1), ("cow", 3)):
        write_images(tmp_path / "train" / name, count)
    asked = SETTINGS | dict(data_dir=str(tmp_path))
    assert "class 'bee'" in error_of("image_folder", data_dir=str(tmp_path))
    warnings = []
    monkeypatch.setattr(logging, "warning", lambda text, *words: warnings.append(text % words))
    tasks = load("image_folder", leave_out_small_classes=True, **asked)
    assert tasks.class_names == ("ant", "cow")
    assert any("1 of 3 classes" in line and "bee" in line for line in warnings)


def test_augmentation_is_for_training_alone(tmp_path, write_images):
    for split in ("train", "test"):
        for name in ("ant", "bee"):
            write_images(tmp_path / split / name, 3)
    asked = dict(data_dir=str(tmp_path), augment=True)
    assert load("image_folder", **(SETTINGS | asked)).augment
    assert not load("image_folder", **(SETTINGS | asked | {"split": "test"})).augment
