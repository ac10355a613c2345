"""The three ways to map over tasks agree."""

import numpy as np
import pytest
import tensorflow as tf

from anil_tf.adaptation.over_tasks import over_tasks


def per_task(task):
    rows, index = task
    return tf.nn.tanh(rows) * tf.cast(index, rows.dtype), {"mean": (tf.reduce_mean(rows, axis=0),)}


@pytest.mark.parametrize("mode", ["vectorized", "unrolled", "loop"])
def test_modes_equal_a_python_loop_with_gradients(mode):
    rows = tf.constant(np.random.default_rng(0).normal(size=[4, 3, 2]))

    @tf.function
    def mapped(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = over_tasks(per_task, (x, tf.range(4)), mode=mode)
            value = tf.reduce_sum(outputs[0] ** 2) + tf.reduce_sum(outputs[1]["mean"][0] ** 3)
        return outputs, tape.gradient(value, x)

    (tanh, statistics), gradient = mapped(rows)
    index = np.arange(4.0)[:, None, None]
    np.testing.assert_allclose(tanh, np.tanh(rows) * index, rtol=1e-12)
    np.testing.assert_allclose(statistics["mean"][0], np.mean(rows, axis=1), rtol=1e-12)
    by_hand = 2 * np.tanh(rows) * index**2 * (1 - np.tanh(rows) ** 2)
    by_hand += (np.mean(rows, axis=1) ** 2)[:, None, :]
    np.testing.assert_allclose(gradient, by_hand, rtol=1e-10)


@pytest.mark.parametrize(("count", "calls"), [(7, 7), (8, 1)])
def test_many_tasks_outside_a_graph_are_traced_once_and_equal_a_python_loop(count, calls):
    rows = tf.constant(np.random.default_rng(0).normal(size=[count, 3, 2]))
    called = []

    def counted(task):
        called.append(task)
        return per_task(task)

    with tf.GradientTape() as tape:
        tape.watch(rows)
        tanh, _ = over_tasks(counted, (rows, tf.range(count)), mode="unrolled")
    index = np.arange(float(count))[:, None, None]
    np.testing.assert_allclose(tanh, np.tanh(rows) * index, rtol=1e-12)
    gradient = tape.gradient(tanh, rows)
    np.testing.assert_allclose(gradient, index * (1 - np.tanh(rows) ** 2), rtol=1e-10)
    assert len(called) == calls


@pytest.mark.parametrize("count", [1, 2])
def test_a_loop_over_one_task_is_none_and_equals_a_python_loop(count):
    rows = tf.constant(np.random.default_rng(0).normal(size=[count, 3, 2]))

    @tf.function
    def mapped(x):
        return over_tasks(per_task, (x, tf.range(1, count + 1)), mode="loop")[0]

    index = np.arange(1.0, count + 1)[:, None, None]
    np.testing.assert_allclose(mapped(rows), np.tanh(rows) * index, rtol=1e-12)
    kinds = {one.type for one in mapped.get_concrete_function(rows).graph.get_operations()}
    assert any("While" in kind for kind in kinds) == (count > 1)


def test_unrolled_takes_an_unknown_number_of_tasks():
    @tf.function(input_signature=[tf.TensorSpec([None, 3, 2], tf.float64)])
    def mapped(x):
        return over_tasks(per_task, (x, tf.range(tf.shape(x)[0])), mode="unrolled")[0]

    rows = tf.ones([5, 3, 2], tf.float64)
    assert mapped(rows).shape == (5, 3, 2)


def test_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="mode must be one of vectorized, unrolled, loop"):
        over_tasks(per_task, (tf.ones([2, 3, 2]), tf.range(2)), mode="threads")
