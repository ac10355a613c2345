"""Omniglot, both splits, on the real data."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

from anil_tf.episodes import load, omniglot

SETTINGS = dict(ways=5, shots=1, queries=15, meta_batch_size=2, seed=0)


@pytest.fixture
def loaded(shared_tfds):
    return lambda name, split: load(name, split=split, data_dir=str(shared_tfds), **SETTINGS)


@pytest.mark.parametrize(
    ("name", "split", "characters", "turns"),
    [
        ("omniglot", "train", 1028, 4),
        ("omniglot", "validation", 172, 1),
        ("omniglot_rotated", "test", 423, 4),
    ],
)
def test_rotations_are_extra_classes_in_the_vinyals_split(loaded, name, split, characters, turns):
    tasks = loaded(name, split)
    assert tasks.image_shape == (28, 28, 1)
    assert len(tasks.class_names) == len(set(tasks.class_names)) == turns * characters
    assert set(tasks.source.sizes) == {20}
    assert ("4 rotations" if turns == 4 else "as drawn") in tasks.split_description
    images = tasks.source.images.numpy().reshape(turns, characters, 20, 28, 28)
    for turn in range(turns):
        np.testing.assert_array_equal(images[turn], np.rot90(images[0], turn, axes=(2, 3)))
    assert tasks.class_names[-1].endswith("_rot270" if turns == 4 else "_rot000")


def test_ink_is_bright_on_dark(loaded):
    images = loaded("omniglot", "validation").source.images.numpy()
    assert images.max() == 255
    assert np.median(images) == 0
    assert 0.03 < images.mean() / 255 < 0.2
    assert images[:, 0, 0].mean() < 20


def test_background_against_evaluation(loaded):
    tasks = {split: loaded("omniglot_background", split) for split in omniglot.class_split.SPLITS}
    counts = {split: len(part.class_names) for split, part in tasks.items()}
    assert counts["train"] // 4 + counts["validation"] == 964
    assert counts["train"] % 4 == 0 and counts["test"] == 659
    train, validation, test = (
        {name.rsplit("_", 2)[0] for name in part.class_names} for part in tasks.values()
    )
    assert [len(alphabets) for alphabets in (train, validation, test)] == [25, 5, 20]
    assert validation == set(omniglot.VALIDATION_ALPHABETS)
    assert len(train | validation | test) == 50, "no alphabet is in two splits"
    assert "rotations" in tasks["train"].split_description
    assert "as drawn" in tasks["test"].split_description


def test_drawings_are_those_of_tfds_with_their_names(loaded, shared_tfds):
    tasks = loaded("omniglot_background", "test")
    builder = tfds.builder("omniglot", data_dir=shared_tfds)
    for example in tfds.as_numpy(builder.as_dataset(split="test[:20]")):
        name = builder.info.features["label"].int2str(example["label"]) + "_rot000"
        start = tasks.source.offsets[tasks.class_names.index(name)]
        drawings = tasks.source.images.numpy()[start : start + 20, ..., 0]
        # 105 / 28 = 15 / 4: repeat every pixel 4 times, then average squares of 15.
        ink = np.kron(255.0 - example["image"][..., 0], np.ones((4, 4)))
        small = ink.reshape(28, 15, 28, 15).mean(axis=(1, 3))
        differences = np.abs(drawings - small).max(axis=(1, 2))
        assert differences.min() < 0.51  # rounding
        assert np.sort(differences)[1] > 50  # another drawing of the character
