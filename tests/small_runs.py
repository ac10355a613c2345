"""A run on made images that trains in seconds: what `small_run` in conftest.py is made with."""

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

SIDE = 16
CLASSES = {"train": 6, "validation": 5, "test": 8}
IMAGES = 8  # of each class
# A shorter run: a network without convolutions compiles in a third of the time.
ONE_STEP = [
    *("--body=mlp", "--epochs=1", "--steps_per_epoch=2", "--validation_episodes=2"),
    *("--learned_inner_step_size=none", "--schedule=constant"),
]


class SmallRun(NamedTuple):
    """A finished run.

    Attributes:
        directory: the run directory.
        images: the folder of images that it was trained on.
        arguments: the flags of the training, but for --run_dir.
        output: what the training printed.
    """

    directory: Path
    images: Path
    arguments: list[str]
    output: str


def make_images(folder):
    """An image folder: every class is a pattern, seen through noise."""
    random = np.random.default_rng(0)
    for split, classes in CLASSES.items():
        for label in range(classes):
            directory = folder / split / f"{split}{label}"
            directory.mkdir(parents=True)
            pattern = np.kron(random.uniform(0, 255, (4, 4, 3)), np.ones((4, 4, 1)))
            for number in range(IMAGES):
                noisy = np.clip(pattern + random.normal(0, 60, pattern.shape), 0, 255)
                Image.fromarray(noisy.astype(np.uint8)).save(directory / f"{number}.png")
    return folder


def arguments(images):
    """Flags of a training that has a bit of everything."""
    return [
        "--dataset=image_folder",
        f"--data_dir={images}",
        "--ways=3",
        "--training_ways=4",
        "--queries=4",
        "--meta_batch_size=2",
        "--seed=3",
        "--augment",
        "--filters=4",
        "--head=prototype",
        "--inner_steps=2",
        "--learned_inner_step_size=scalar",
        "--outer_step_size_head=0.01",
        "--schedule=cosine",
        "--weight_averaging=0.9",
        "--epochs=2",
        "--steps_per_epoch=3",
        "--validation_episodes=4",
    ]


def rows(run_dir):
    """The rows of metrics.csv."""
    with (run_dir / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def assert_same_runs(one, other):
    """The same numbers, bit by bit. In one process Keras numbers layers on, so that files differ in names."""
    import anil_tf

    assert (one / "metrics.csv").read_text() == (other / "metrics.csv").read_text()
    weights = (anil_tf.load(folder).get_weights() for folder in (one, other))
    for first, second in zip(*weights, strict=True):
        np.testing.assert_array_equal(first, second)
