"""The three ways to map over tasks agree."""

import numpy as np
import pytest
import tensorflow as tf

from anil_tf.adaptation.over_tasks import over_tasks


def per_task(task):
    rows, number = task
    return tf.nn.tanh(rows) * tf.cast(number, rows.dtype), {"mean": (tf.reduce_mean(rows, 0),)}


def tasks(count):
    return tf.constant(np.random.default_rng(0).normal(size=[count, 3, 2])), tf.range(1, count + 1)


def assert_as_by_hand(rows, tanh, statistics, gradient):
    numbers = np.arange(1.0, len(rows) + 1)[:, None, None]
    np.testing.assert_allclose(tanh, np.tanh(rows) * numbers, rtol=1e-12)
    np.testing.assert_allclose(statistics["mean"][0], np.mean(rows, axis=1), rtol=1e-12)
    by_hand = 2 * np.tanh(rows) * numbers**2 * (1 - np.tanh(rows) ** 2)
    by_hand += (np.mean(rows, axis=1) ** 2)[:, None, :]
    np.testing.assert_allclose(gradient, by_hand, rtol=1e-10)


def with_gradient(function, rows, numbers, mode):
    with tf.GradientTape() as tape:
        tape.watch(rows)
        tanh, statistics = over_tasks(function, (rows, numbers), mode=mode)
        value = tf.reduce_sum(tanh**2) + tf.reduce_sum(statistics["mean"][0] ** 3)
    return tanh, statistics, tape.gradient(value, rows)


@pytest.mark.parametrize(
    ("mode", "count"), [("vectorized", 2), ("unrolled", 2), ("loop", 2), ("loop", 1)]
)
def test_modes_equal_a_python_loop_with_gradients(mode, count):
    rows, numbers = tasks(count)
    mapped = tf.function(lambda rows, numbers: with_gradient(per_task, rows, numbers, mode))
    assert_as_by_hand(rows, *mapped(rows, numbers))
    operations = mapped.get_concrete_function(rows, numbers).graph.get_operations()
    has_loop = any("While" in operation.type for operation in operations)
    assert has_loop == (mode == "loop" and count > 1)


@pytest.mark.parametrize(("count", "calls"), [(7, 7), (8, 1)])
def test_many_tasks_outside_a_graph_are_traced_once(count, calls):
    rows, numbers = tasks(count)
    called = []

    def counted(task):
        called.append(task)
        return per_task(task)

    assert_as_by_hand(rows, *with_gradient(counted, rows, numbers, "unrolled"))
    assert len(called) == calls


def test_unrolled_takes_an_unknown_number_of_tasks():
    @tf.function(input_signature=[tf.TensorSpec([None, 3, 2], tf.float64)])
    def mapped(x):
        return over_tasks(per_task, (x, tf.range(tf.shape(x)[0])), mode="unrolled")[0]

    assert mapped(tf.ones([5, 3, 2], tf.float64)).shape == (5, 3, 2)


def test_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="mode must be one of vectorized, unrolled, loop"):
        over_tasks(per_task, (tf.ones([2, 3, 2]), tf.range(2)), mode="threads")
