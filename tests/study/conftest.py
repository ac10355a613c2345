"""A data set made on the spot, and the settings of a tiny run on it."""

import numpy as np
import pytest

from anil_tf.episodes import class_images, registry


def _patterned_classes(seed):
    """Six classes of twelve 16x16 images, each class a pattern under noise."""
    random = np.random.default_rng(seed)
    images = []
    for _ in range(6):
        pattern = random.integers(60, 196, [16, 16, 3])
        noise = random.integers(-60, 60, [12, 16, 16, 3])
        images.append((pattern + noise).astype(np.uint8))
    return class_images.from_classes(images, list("abcdef"), "made for the test")


@pytest.fixture(scope="session")
def made_sources():
    return {split: _patterned_classes(seed) for seed, split in enumerate(("train", "test"))}


@pytest.fixture
def tiny(monkeypatch, made_sources):
    """Settings of `training.run`: three ways, a small perceptron, four meta-steps."""
    monkeypatch.setitem(registry.DATASETS, "made", lambda asked: made_sources[asked.split])
    return {
        "dataset": "made",
        "data_dir": None,
        "body": "mlp",
        "filters": 8,
        "ways": 3,
        "shots": 2,
        "queries": 3,
        "meta_batch_size": 2,
        "adapted_layers": 1,
        "inner_steps": 2,
        "inner_step_size": 0.1,
        "inner_l2": 0.5,
        "differentiation": "explicit",
        "optimizer": "adam",
        "outer_step_size": 0.001,
        "normalization": "episode",
        "meta_steps": 4,
        "checkpoints": 3,
        "evaluation_tasks": 6,
        "seed": 0,
    }
