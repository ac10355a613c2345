"""Small tasks without files, and a learner without weights whose answers are easily recomputed."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from anil_tf.episodes.class_images import from_classes
from anil_tf.episodes.sinusoid import Sinusoids
from anil_tf.episodes.tasks import Tasks


class NearestMean(keras.Model):
    """Logits: minus the squared distance of mean-pooled images to the support's class means."""

    def __init__(self, ways: int, noise: float = 1.0):
        super().__init__()
        self.ways = ways
        self.noise = noise
        self.normalization = "support"
        self.inner_steps = 3
        self.inner_step_size = 0.25
        self.learned_inner_step_size = "none"
        self.inner_l2 = 0.0
        self.frozen_in_adaptation = "none"
        self.calls = 0

    def call(self, inputs, training=False):
        self.calls += 1  # counts tracings
        support, query = (
            tf.reduce_mean(tf.cast(inputs[name], tf.float32), axis=[2, 3]) / 16.0
            for name in ("support_images", "query_images")
        )
        members = tf.one_hot(inputs["support_labels"], self.ways)
        means = (
            tf.einsum("bnw,bnc->bwc", members, support) / tf.reduce_sum(members, axis=1)[..., None]
        )
        distances = tf.square(query[:, :, None] - means[:, None])
        return -tf.reduce_sum(distances, axis=-1) / self.noise

    def describe(self):
        return {"adapted": "nothing", "body": "pooling", "head": "prototype", "geometry": "flat"}


class Line(NearestMean):
    """Regression: the constant that is the support's mean."""

    def call(self, inputs, training=False):
        mean = tf.reduce_mean(inputs["support_labels"], axis=1, keepdims=True)
        return mean + tf.zeros_like(inputs["query_images"])


@pytest.fixture
def nearest_mean():
    return NearestMean


@pytest.fixture
def line():
    return Line(1)


@pytest.fixture(scope="session")
def image_tasks():
    """Makes tasks on made images: every class is a grey level (or colour) with noise."""

    def make(channels=1, size=12, classes=14, **settings):
        random = np.random.default_rng(7)
        levels = random.integers(60, 190, (classes, 1, 1, 1, channels))
        images = levels + 90 * random.standard_normal((classes, 12, 1, 1, channels))
        images = images + 10 * random.standard_normal((classes, 12, size, size, channels))
        images = np.clip(images, 0, 255).astype(np.uint8)
        source = from_classes(list(images), [f"class {c}" for c in range(classes)], "made by hand")
        chosen = {"ways": 3, "shots": 2, "queries": 4, "meta_batch_size": 4, "seed": 0} | settings
        return Tasks(name="made", split="test", source=source, **chosen)

    return make


@pytest.fixture(scope="session")
def sine_tasks():
    return Tasks(
        name="sinusoid",
        split="test",
        source=Sinusoids(),
        ways=1,
        shots=5,
        queries=10,
        meta_batch_size=4,
        seed=0,
    )
