"""FC100 and CIFAR-FS on the real CIFAR-100."""

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


def test_both_data_sets_and_all_splits_share_one_decoding_and_loads_share_the_images(shared_tfds):
    fc100 = load("fc100", split="test", data_dir=str(shared_tfds), **SETTINGS)
    before = cifar._cifar100.cache_info().misses
    for split in class_split.SPLITS:
        load("cifar_fs", split=split, data_dir=str(shared_tfds), **SETTINGS)
    again = load("fc100", split="test", data_dir=str(shared_tfds), **(SETTINGS | {"seed": 1}))
    assert cifar._cifar100.cache_info().misses == before
    assert again.source.images is fc100.source.images


def test_no_image_of_the_test_classes_is_among_the_training_images(shared_tfds):
    train, test = (
        load("fc100", split=split, data_dir=str(shared_tfds), **SETTINGS).source.images.numpy()
        for split in ("train", "test")
    )
    # CIFAR-100 itself repeats a few images under several labels; a wrong split repeats thousands.
    rows = [{image.tobytes() for image in images} for images in (train, test)]
    assert len(rows[0] & rows[1]) < 10
    assert np.mean(train) > 50
