"""Pipelines of tf.data are not tuned while they run, which their iterators' ends would wait for."""

import tensorflow as tf

from anil_tf.episodes import pipeline, prepared
from tests.episodes.made_tasks import make_tasks


def test_untuned_keeps_the_elements_and_what_is_made_of_it_is_untuned():
    made = pipeline.untuned(tf.data.Dataset.range(5)).take(3).prefetch(1)
    assert list(made.as_numpy_iterator()) == [0, 1, 2]
    assert made.options().autotune.enabled is False
    assert tf.data.Dataset.range(5).options().autotune.enabled is None, "elsewhere tf.data decides"


def test_the_tasks_that_training_reads_are_untuned():
    dataset = make_tasks(augment=True).as_dataset()
    assert dataset.options().autotune.enabled is False
    assert dataset.take(2).options().autotune.enabled is False


def test_what_is_decoded_is_untuned(monkeypatch):
    seen = []
    monkeypatch.setattr(pipeline, "untuned", lambda dataset: seen.append(dataset) or dataset)

    class Builder:
        def as_dataset(self, **_):
            return tf.data.Dataset.range(3).map(lambda n: {"image": n, "label": n})

    images, labels = prepared.decode(Builder(), "train", lambda n: tf.fill([2, 2, 1], n))
    assert images.shape == (3, 2, 2, 1) and labels.tolist() == [0, 1, 2]
    assert len(seen) == 1
