"""Small learners of every algorithm, made tasks and meta-gradients, which several tests share."""

import contextlib

import keras
import numpy as np
import tensorflow as tf

import anil_tf
from anil_tf.models import conv4, mlp, split

# EXAMPLES of a class in the support, and as many in the queries.
WAYS, EXAMPLES, TASKS = 3, 2, 3


@contextlib.contextmanager
def precision(policy):
    """Makes new layers and learners compute in this precision."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def meta_batch(shape, tasks=TASKS, ways=WAYS, seed=0, dtype="float32"):
    """Inputs of a learner and the labels of the queries: each class is a centre, seen through noise."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(ways), EXAMPLES)
    centres = rng.normal(size=[tasks, ways, *shape])
    support, query = (
        tf.constant(centres[:, labels] + rng.normal(size=[tasks, len(labels), *shape]), dtype)
        for _ in range(2)
    )
    labels = tf.constant(np.tile(labels, (tasks, 1)), tf.int32)
    inputs = {"support_images": support, "support_labels": labels, "query_images": query}
    return inputs, labels


def smooth_learner(adapted_layers=1, **options):
    """A small network that is smooth everywhere, so that finite differences mean something.

    Its head is wider than the support has rows, so that gradient descent on it stays in their span.
    """
    keras.utils.set_random_seed(1)
    model = mlp(input_shape=(4,), classes=WAYS, units=(5, 8), activation="tanh")
    body, head = split(model, adapted_layers)
    options = {
        "inner_steps": 3,
        "inner_step_size": 0.3,
        "dtype": keras.config.dtype_policy(),
    } | options
    return anil_tf.MetaLearner(body, head, **options)


def conv_learner(adapted_layers=1, **options):
    keras.utils.set_random_seed(1)
    model = conv4(input_shape=(16, 16, 1), classes=WAYS, filters=4)
    body, head = split(model, adapted_layers)
    return anil_tf.MetaLearner(body, head, **({"inner_steps": 2} | options))


def loss_of(learner, inputs, labels, training=False):
    logits = learner(inputs, training=training)
    return tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    )


def meta_gradient(learner, inputs, labels, training=False):
    with tf.GradientTape() as tape:
        loss = loss_of(learner, inputs, labels, training)
    return tape.gradient(loss, learner.trainable_variables)
