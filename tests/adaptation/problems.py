"""Small inner problems in float64, made from a seed: the same one by tapes and in closed form."""

import numpy as np
import tensorflow as tf

from anil_tf.adaptation.linear_problem import LinearProblem
from anil_tf.adaptation.losses import inner_loss
from anil_tf.adaptation.problem import TapedProblem

TASKS, ROWS, WIDTH, WAYS = 3, 6, 4, 3


def normal(seed, *shape):
    return tf.constant(np.random.default_rng(seed).normal(size=shape))


def linear_head(loss="cross_entropy", l2=0.2, bias=True, seed=0):
    """A linear head's problem by tapes and in closed form, a point w of it, and the features."""
    labels = np.random.default_rng(seed).integers(0, WAYS, size=[TASKS, ROWS]).astype("int32")
    targets = tf.one_hot(labels, WAYS, dtype=tf.float64)
    if loss == "squared_error":
        labels = targets = normal(seed + 1, TASKS, ROWS, WAYS)

    def loss_of_one_task(adapted, shared, labels, step):
        outputs = tf.matmul(shared[0], adapted[0]) + (adapted[1] if bias else 0.0)
        return inner_loss(outputs, labels, adapted, loss=loss, l2=l2)

    adapted = [normal(seed + 2, TASKS, WIDTH, WAYS), normal(seed + 3, TASKS, WAYS)][: 1 + bias]
    taped = TapedProblem(loss_of_one_task, tf.constant(labels), mode="vectorized")
    closed = LinearProblem(targets, loss=loss, l2=l2)
    return taped, closed, adapted, [normal(seed + 4, TASKS, ROWS, WIDTH)]


def two_layer_head(l2=0.0, seed=0):
    """A head with a hidden tanh layer: a nonconvex problem."""
    labels = np.random.default_rng(seed).integers(0, WAYS, size=[TASKS, ROWS]).astype("int32")

    def loss_of_one_task(adapted, shared, labels, step):
        hidden = tf.tanh(tf.matmul(shared[0], adapted[0]))
        outputs = tf.matmul(hidden, adapted[1])
        return inner_loss(outputs, labels, adapted, loss="cross_entropy", l2=l2)

    adapted = [normal(seed + 2, TASKS, WIDTH, 5), normal(seed + 3, TASKS, 5, WAYS)]
    problem = TapedProblem(loss_of_one_task, tf.constant(labels), mode="vectorized")
    return problem, adapted, [normal(seed + 4, TASKS, ROWS, WIDTH)]


def derivatives(adapt, start, shared, sizes=()):
    """w_N, and how a fixed function of it and of s changes with w_0, s and the step sizes."""
    with tf.GradientTape() as tape:
        tape.watch([start, shared, list(sizes)])
        end = adapt(start, shared)
        weights = [normal(90 + i, *part.shape) for i, part in enumerate(end)]
        value = tf.add_n([tf.reduce_sum(w * tf.sin(e)) for w, e in zip(weights, end, strict=True)])
        value += sum(tf.reduce_sum(part**2) for part in shared)
    gradients = tape.gradient(value, [start, shared, list(sizes)], unconnected_gradients="zero")
    return end, tf.nest.flatten(gradients)


def assert_close(one, other, rtol):
    one, other = tf.nest.flatten(one), tf.nest.flatten(other)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * max(1e-300, np.abs(b).max()))
