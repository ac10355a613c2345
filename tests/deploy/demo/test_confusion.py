"""Leave-one-out: counts of what each example is called by a model of all the others."""

import time

import numpy as np
import pytest

from anil_tf.deploy.demo.confusion import leave_one_out


def nearest(images, labels, new):
    """One-hot probabilities: the class of the nearest example."""
    ways = int(labels.max()) + 1
    return np.eye(ways)[[labels[np.argmin(np.abs(images - image).sum(-1))] for image in new]]


def test_each_example_is_named_by_the_others():
    images = np.array([[0.0], [1.0], [10.0], [0.6], [11.0], [20.0]])
    labels = np.array([0, 0, 1, 1, 1, 2])
    found = leave_one_out(nearest, images, labels, seconds=60)
    # 0 and 1 are nearest to 0.6, which is nearest to 1; 10 and 11 to each other; 20 is alone in its class.
    np.testing.assert_array_equal(found.counts, [[0, 2, 0], [1, 2, 0], [0, 0, 0]])
    assert (found.tested, found.testable) == (5, 5)


def test_the_model_never_sees_what_it_is_asked():
    images, labels = np.arange(8.0)[:, None], np.array([0, 1, 0, 1, 0, 1, 2, 2])

    def adapt_and_predict(support, ones, new):
        assert len(support) == 7 and new[0] not in support
        assert set(ones) == {0, 1, 2}, "no class may vanish"
        return np.ones((1, 3)) / 3

    assert leave_one_out(adapt_and_predict, images, labels, seconds=60).tested == 8


@pytest.mark.parametrize("labels", [[0, 1], [0, 1, 2]])
def test_single_examples_are_not_held_out(labels):
    found = leave_one_out(None, np.zeros((len(labels), 1)), np.array(labels), seconds=60)
    assert (found.tested, found.testable) == (0, 0)


def test_interrupted_it_begins_no_further_example():
    answers = iter([False, False, True])
    found = leave_one_out(
        nearest,
        np.arange(6.0)[:, None],
        np.array([0, 0, 0, 1, 1, 1]),
        seconds=60,
        is_interrupted=lambda: next(answers),
    )
    assert (found.tested, found.testable, found.interrupted) == (2, 6, True)


def test_out_of_time_each_class_has_had_its_turn():
    asked = []

    def adapt_and_predict(support, labels, new):
        asked.append(int(new[0, 0]))
        if len(asked) == 3:
            time.sleep(0.3)
        return np.eye(3)[:1]

    labels = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2])
    found = leave_one_out(adapt_and_predict, np.arange(9.0)[:, None], labels, seconds=0.25)
    assert asked == [0, 3, 6]
    assert (found.tested, found.testable, found.interrupted) == (3, 9, False)
