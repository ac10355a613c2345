"""Random crops and mirror images."""

import numpy as np
import tensorflow as tf

from anil_tf.episodes import augment
from tests.episodes.made_tasks import make_tasks

SEED = tf.constant([1, 2], tf.int64)


def test_every_image_is_a_window_of_its_padded_self_or_of_its_mirror_image():
    images = np.random.default_rng(0).integers(1, 256, (3, 40, 6, 7, 3), np.uint8)
    moved = augment.crop_and_flip(tf.constant(images), SEED).numpy()
    assert moved.shape == images.shape
    found = []
    for before, after in zip(images.reshape(-1, 6, 7, 3), moved.reshape(-1, 6, 7, 3), strict=True):
        padding = [(augment.PADDING,) * 2] * 2 + [(0, 0)]
        # A crop, then a flip of it, is a window of the mirrored and padded image.
        sources = [np.pad(before, padding), np.pad(before[:, ::-1], padding)]
        windows = {
            (flip, row, column): source[row : row + 6, column : column + 7]
            for flip, source in enumerate(sources)
            for row in range(9)
            for column in range(9)
        }
        matches = [key for key, window in windows.items() if np.array_equal(window, after)]
        assert matches
        found.append(matches[0])
    flips, rows, columns = map(set, zip(*found, strict=True))
    assert flips == {0, 1}
    assert rows == columns == set(range(9))


def test_it_depends_on_the_seed_alone():
    images = tf.constant(np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8))
    first = augment.crop_and_flip(images, SEED)
    np.testing.assert_array_equal(first, augment.crop_and_flip(images, SEED))
    assert np.any(first != augment.crop_and_flip(images, SEED + 1))


def test_tasks_augment_support_and_query_and_keep_the_episode():
    plain = make_tasks()
    changed = plain.replace(augment=True)
    (plain_inputs, plain_labels), (inputs, labels) = plain.batch(0), changed.batch(0)
    np.testing.assert_array_equal(plain_labels, labels)
    for part in ("support_images", "query_images"):
        assert np.any(plain_inputs[part] != inputs[part])
