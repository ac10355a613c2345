"""Small learners of every algorithm, made tasks and meta-gradients, which several tests share."""

import contextlib

import keras
import numpy as np
import tensorflow as tf

import anil_tf
from anil_tf.models import conv4, mlp, split

WAYS, SHOTS, QUERIES, TASKS = 3, 2, 2, 3


@contextlib.contextmanager
def precision(policy):
    """Makes new layers and learners compute in this precision."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def meta_batch(shape, tasks=TASKS, ways=WAYS, seed=0):
    """Inputs of a learner and the labels of the queries: each class is a centre, seen through noise."""
    rng = np.random.default_rng(seed)
    labels = lambda count: np.tile(np.repeat(np.arange(ways), count), (tasks, 1)).astype("int32")  # noqa: E731
    centres = rng.normal(size=[tasks, ways, *shape])
    images = lambda classes: np.stack(  # noqa: E731
        [centres[t][classes[t]] + rng.normal(size=[classes.shape[1], *shape]) for t in range(tasks)]
    )
    support_labels, query_labels = labels(SHOTS), labels(QUERIES)
    return (
        {
            "support_images": images(support_labels),
            "support_labels": support_labels,
            "query_images": images(query_labels),
        },
        query_labels,
    )


def tensors(batch, dtype):
    inputs, labels = batch
    cast = {
        k: tf.constant(v, dtype if v.dtype.kind == "f" else tf.int32) for k, v in inputs.items()
    }
    return cast, tf.constant(labels)


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
