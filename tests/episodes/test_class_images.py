"""Images grouped by class."""

import numpy as np

from anil_tf.episodes import class_images
from tests.episodes.made_tasks import numbered_images


def test_classes_lie_one_after_the_other():
    source = numbered_images((2, 5, 3))
    assert source.offsets.tolist() == [0, 2, 7]
    assert source.sizes.tolist() == [2, 5, 3]
    assert source.image_shape == (2, 2, 3)
    for label, (offset, size) in enumerate(zip(source.offsets, source.sizes, strict=True)):
        assert set(source.images.numpy()[offset : offset + size, 0, 0, 0]) == {label}


def test_small_classes_can_be_left_out_without_copying_images():
    source = numbered_images((2, 5, 3))
    larger = source.at_least(3)
    assert larger.images is source.images
    assert larger.class_names == ("class 1", "class 2")
    assert larger.offsets.tolist() == [2, 7]
    assert source.at_least(2) is source


def test_classes_are_picked_by_label_in_the_order_asked():
    images = np.arange(6, dtype=np.uint8).reshape(6, 1, 1, 1)
    labels = np.array([0, 2, 1, 2, 0, 1])
    source = class_images.from_labels(images, labels, [2, 0], ["zero", "one", "two"], "words")
    assert source.images.numpy().ravel().tolist() == [1, 3, 0, 4]
    assert source.class_names == ("two", "zero")
    assert source.split_description == "words"
