"""Any TFDS data set, tried on two small ones made here."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

from anil_tf.episodes import DataError, load

SETTINGS = dict(ways=2, shots=1, queries=1, meta_batch_size=1, seed=0)


class AnilTestVaried(tfds.core.GeneratorBasedBuilder):
    """Ten classes of colour images of several sizes; some images have no label."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "label": tfds.features.ClassLabel(names=[f"kind{label}" for label in range(10)]),
            "image": tfds.features.Image(shape=(None, None, 3)),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(0), "test": self._generate_examples(1)}

    def _generate_examples(self, part):
        for number in range(20):
            image = np.full((5 + number % 3, 6, 3), 10 * (number % 10), np.uint8)
            yield f"{part}-{number}", {"image": image, "label": number % 10}
        yield f"{part}-none", {"image": np.zeros((5, 5, 3), np.uint8), "label": -1}


class AnilTestWords(tfds.core.GeneratorBasedBuilder):
    """No images."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = tfds.features.FeaturesDict({"text": tfds.features.Text()})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        yield 0, {"text": "word"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(tmp_path_factory.mktemp("tfds"))


def error_of(name, folder):
    with pytest.raises(DataError) as caught:
        load(name, split="train", data_dir=folder, **SETTINGS)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_classes_are_split_by_seed_over_all_labelled_images(folder):
    parts = {
        split: load("tfds:anil_test_varied", split=split, data_dir=folder, **SETTINGS)
        for split in ("train", "validation", "test")
    }
    names = [name for tasks in parts.values() for name in tasks.class_names]
    assert sorted(names) == [f"kind{label}" for label in range(10)]
    assert [len(tasks.class_names) for tasks in parts.values()] == [6, 2, 2]
    for tasks in parts.values():
        assert tasks.image_shape == (84, 84, 3)
        assert set(tasks.source.sizes) == {4}
        means = tasks.source.images.numpy().mean(axis=(1, 2, 3)).reshape(-1, 4)
        labels = [int(name.removeprefix("kind")) for name in tasks.class_names]
        np.testing.assert_array_equal(means, np.repeat([[10 * i] for i in labels], 4, axis=1))
        assert "split by seed 0" in tasks.split_description


def test_the_size_can_be_chosen(folder):
    tasks = load("tfds:anil_test_varied", split="train", data_dir=folder, image_size=16, **SETTINGS)
    assert tasks.image_shape == (16, 16, 3)


def test_a_data_set_without_images_is_refused(folder):
    message = error_of("tfds:anil_test_words", folder)
    assert "has no image and class label" in message
    assert "text" in message


def test_an_unknown_name_gets_the_closest_ones(folder):
    message = error_of("tfds:mnnist", folder)
    assert "TFDS has no data set 'mnnist'; did you mean" in message
    assert "mnist" in message.split("did you mean")[1]


def test_a_name_that_tfds_cannot_read_is_one_line(folder):
    assert "tfds:" in error_of("tfds:", folder)
    error_of("tfds:mnist/none/such:1", folder)
