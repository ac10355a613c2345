"""The sampler: a pure function of (seed, step), without replacement."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from anil_tf.episodes import DataError
from anil_tf.episodes.tasks import Tasks
from tests.episodes.made_tasks import make_tasks, numbered_images


def assert_same(first, second):
    tf.nest.map_structure(lambda one, two: np.testing.assert_array_equal(one, two), first, second)


def identities(images):
    """For each image its class and number within the class."""
    pixels = np.asarray(images)[..., 0, 0, :].astype(int)
    return pixels[..., 0], 256 * pixels[..., 1] + pixels[..., 2]


@given(
    sizes=st.lists(st.integers(5, 40), min_size=4, max_size=9),
    ways=st.integers(1, 4),
    shots=st.integers(1, 2),
    queries=st.integers(1, 3),
    step=st.integers(0, 2**40),
    seed=st.integers(-(2**63), 2**70),
)
def test_a_task_has_distinct_classes_and_distinct_images(sizes, ways, shots, queries, step, seed):
    tasks = make_tasks(sizes, ways=ways, shots=shots, queries=queries, seed=seed)
    inputs, query_labels = tasks.batch(step)
    assert inputs["support_images"].shape == (5, ways * shots, 2, 2, 3)
    assert inputs["query_images"].shape == (5, ways * queries, 2, 2, 3)
    assert inputs["support_images"].dtype == tf.uint8
    assert inputs["support_labels"].dtype == query_labels.dtype == tf.int32
    images = np.concatenate([inputs["support_images"], inputs["query_images"]], axis=1)
    labels = np.concatenate([inputs["support_labels"], query_labels], axis=1)
    classes, numbers = identities(images)
    for task_classes, task_numbers, task_labels in zip(classes, numbers, labels, strict=True):
        assert len(set(zip(task_classes, task_numbers, strict=True))) == ways * (shots + queries)
        class_of_label = dict(zip(task_labels, task_classes, strict=True))
        assert sorted(class_of_label) == list(range(ways))
        assert len(set(class_of_label.values())) == ways
        np.testing.assert_array_equal([class_of_label[i] for i in task_labels], task_classes)
        assert all(task_numbers < np.array(sizes)[task_classes])
    for part, count in ((inputs["support_labels"], shots), (query_labels, queries)):
        for row in np.asarray(part):
            np.testing.assert_array_equal(np.bincount(row), [count] * ways)


@settings(max_examples=3)  # each one traces a graph
@given(first_step=st.integers(0, 1000), seed=st.integers(0, 2**40), augment=st.booleans())
def test_the_dataset_is_the_batches_from_first_step_on(first_step, seed, augment):
    tasks = make_tasks(seed=seed, augment=augment).from_step(first_step)
    for offset, element in enumerate(tasks.as_dataset().take(3)):
        assert_same(element, tasks.batch(first_step + offset))


def test_the_dataset_never_ends_and_tells_its_shapes():
    dataset = make_tasks().as_dataset()
    assert dataset.cardinality() == tf.data.INFINITE_CARDINALITY
    inputs, labels = dataset.element_spec
    assert inputs["support_images"] == tf.TensorSpec([5, 6, 2, 2, 3], tf.uint8)
    assert inputs["query_images"] == tf.TensorSpec([5, 12, 2, 2, 3], tf.uint8)
    assert labels == tf.TensorSpec([5, 12], tf.int32)


def test_seed_split_and_step_each_change_the_episodes():
    tasks = make_tasks()
    other_split = Tasks("made", "test", tasks.source, 3, 2, 4, 5, 0)
    draws = [tasks.batch(0), tasks.batch(1), tasks.replace(seed=1).batch(0), other_split.batch(0)]
    seen = {np.asarray(inputs["support_images"]).tobytes() for inputs, _ in draws}
    assert len(seen) == len(draws)


def test_an_episode_never_changes_between_versions():
    """A change here breaks resuming and every published number: it must be deliberate."""
    inputs, _ = make_tasks().batch(7)
    classes, numbers = identities(inputs["support_images"])
    assert classes[0].tolist() == [2, 2, 5, 5, 1, 1]
    assert numbers[0].tolist() == [1, 5, 0, 4, 0, 1]


def test_every_image_of_a_class_is_equally_likely():
    tasks = make_tasks((4, 40), ways=2, shots=1, queries=1, meta_batch_size=4000)
    classes, numbers = identities(tasks.batch(0)[0]["support_images"])
    for label, size in enumerate((4, 40)):
        counts = np.bincount(numbers[classes == label], minlength=size)
        expected = 4000 / size
        chi_squared = ((counts - expected) ** 2 / expected).sum()
        degrees = size - 1
        assert len(counts) == size
        assert chi_squared < degrees + 4 * np.sqrt(2 * degrees)


def test_every_class_is_equally_likely_under_every_label():
    tasks = make_tasks((8,) * 5, ways=2, shots=1, queries=1, meta_batch_size=5000)
    classes, _ = identities(tasks.batch(3)[0]["support_images"])
    for column in classes.T:
        counts = np.bincount(column, minlength=5)
        assert ((counts - 1000) ** 2 / 1000).sum() < 4 + 4 * np.sqrt(8)


def test_copies_share_the_images():
    tasks = make_tasks()
    other = tasks.replace(ways=2, shots=1, seed=5, meta_batch_size=1)
    assert other.source is tasks.source
    assert (other.ways, other.shots, other.queries, other.seed) == (2, 1, 4, 5)
    assert tasks.ways == 3


def test_the_images_are_not_constants_of_the_graph():
    """A tensor made eagerly is handed to a graph, where an array would be copied into it."""
    tasks = make_tasks((300, 300, 300))
    traced = tf.function(tasks._draw).get_concrete_function(tf.TensorSpec([], tf.int64))
    assert any(tensor is tasks.source.images for tensor in traced.captured_inputs)
    constants = [node for node in traced.graph.as_graph_def().node if node.op == "Const"]
    assert constants
    assert max(node.ByteSize() for node in constants) < 300


def test_small_classes_are_left_out_when_asked_and_come_back():
    tasks = make_tasks((3, 9, 9, 9), leave_out_small_classes=True)
    assert tasks.class_names == ("class 1", "class 2", "class 3")
    classes, _ = identities(tasks.batch(0)[0]["query_images"])
    assert set(classes.ravel()) == {1, 2, 3}
    assert len(tasks.replace(shots=1, queries=1).class_names) == 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(ways=0), "ways must be at least 1, received 0"),
        (dict(shots=0), "shots must be at least 1"),
        (dict(queries=-1), "queries must be at least 1, received -1"),
        (dict(meta_batch_size=0), "meta_batch_size must be at least 1"),
        (dict(first_step=-1), "first_step must be at least 0"),
        (dict(ways=7), "has 6 classes with at least 6 images, fewer than --ways=7"),
        (dict(shots=3), r"class 'class 0' of made \(train\) has 6 images, but .* = 3 \+ 4 = 7"),
        (dict(split="test"), "use load"),
    ],
)
def test_bad_requests_get_one_line(changes, words):
    with pytest.raises(DataError, match=words) as caught:
        make_tasks().replace(**changes)
    assert "\n" not in str(caught.value)


def test_augmentation_of_grey_images_is_refused():
    source = numbered_images((9, 9))
    grey = type(source)(source.images[..., :1], source.offsets, source.sizes, source.class_names)
    with pytest.raises(DataError, match="augmentation is for colour images"):
        Tasks("grey", "train", grey, 2, 1, 1, 1, 0, augment=True)
