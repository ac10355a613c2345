"""Small tasks made on the spot."""

import numpy as np

from anil_tf.episodes import class_images
from anil_tf.episodes.tasks import Tasks


def numbered_images(sizes):
    """Classes of 2x2 RGB images whose pixels tell the class and the number within it."""
    return class_images.from_classes(
        [
            np.array([[[[label, number // 256, number % 256]] * 2] * 2 for number in range(size)])
            for label, size in enumerate(sizes)
        ],
        [f"class {label}" for label in range(len(sizes))],
        "made for the test",
    )


def make_tasks(sizes=(6, 9, 7, 30, 8, 6), **changes):
    settings = dict(ways=3, shots=2, queries=4, meta_batch_size=5, seed=0)
    return Tasks("made", "train", numbered_images(sizes), **(settings | changes))
