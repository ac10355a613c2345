"""FC100 and CIFAR-FS on the real CIFAR-100."""

import json

import numpy as np
import pytest

from anil_tf.episodes import cifar, class_split, load

SETTINGS = dict(ways=5, shots=5, queries=10, meta_batch_size=8, seed=0)


@pytest.mark.parametrize("name", ["fc100", "cifar_fs"])
@pytest.mark.parametrize("split", class_split.SPLITS)
def test_the_classes_are_the_published_ones(name, split, shared_tfds):
    tasks = load(name, split=split, data_dir=str(shared_tfds), **SETTINGS)
    names = (shared_tfds / "cifar100" / "3.0.2" / "label.labels.txt").read_text().split()
    labels = class_split.published(name)["splits"][split]
    assert tasks.class_names == tuple(names[label] for label in labels)
    assert tasks.image_shape == (32, 32, 3)
    assert set(tasks.source.sizes) == {600}
    inputs, query_labels = tasks.batch(0)
    assert inputs["support_images"].shape == (8, 25, 32, 32, 3)
    assert query_labels.shape == (8, 50)


def test_names_agree_with_the_published_names(shared_tfds, repository):
    original = repository.parent / "shared" / "splits" / "fc100.json"
    if not original.is_file():
        pytest.skip(f"{original} is not here")
    published = json.loads(original.read_text())["splits"]["test"]["label_names"]
    tasks = load("fc100", split="test", data_dir=str(shared_tfds), **SETTINGS)
    assert sorted(tasks.class_names) == sorted(published)


def test_splits_and_both_data_sets_share_one_decoding(shared_tfds):
    load("fc100", split="train", data_dir=str(shared_tfds), **SETTINGS)
    before = cifar._cifar100.cache_info().misses
    for split in class_split.SPLITS:
        load("cifar_fs", split=split, data_dir=str(shared_tfds), **SETTINGS)
    assert cifar._cifar100.cache_info().misses == before


def test_two_loads_share_the_images(shared_tfds):
    one, two = (
        load("fc100", split="test", data_dir=str(shared_tfds), **(SETTINGS | {"seed": seed}))
        for seed in (0, 1)
    )
    assert one.source.images is two.source.images


def test_no_image_of_the_test_classes_is_among_the_training_images(shared_tfds):
    train, test = (
        load("fc100", split=split, data_dir=str(shared_tfds), **SETTINGS).source.images.numpy()
        for split in ("train", "test")
    )
    # CIFAR-100 itself repeats a few images under several labels; a wrong split repeats thousands.
    rows = [{image.tobytes() for image in images} for images in (train, test)]
    assert len(rows[0] & rows[1]) < 10
    assert np.mean(train) > 50
