"""The meta-gradient by blocks."""

import keras
import numpy as np
import tensorflow as tf

from anil_tf.study.measurements.meta_gradient import blocks_of, meta_gradient
from tests.learners import conv_learner, loss_of, meta_batch, smooth_learner


def gradient_of(learner, inputs, labels):
    return meta_gradient(learner, inputs, labels, blocks_of(learner), training=True)


def test_the_meta_gradient_is_the_one_that_training_follows():
    keras.utils.set_random_seed(0)
    learner = smooth_learner()
    inputs, labels = meta_batch((4,))
    with tf.GradientTape() as tape:
        loss = loss_of(learner, inputs, labels, training=True)
    blocks = {"head": learner.head_variables, "body": learner.body_variables}
    expected = tape.gradient(loss, blocks)
    found = gradient_of(learner, inputs, labels)
    assert set(found) == {"head", "body"}
    for block, parts in expected.items():
        flat = np.concatenate([part.numpy().ravel() for part in parts])
        np.testing.assert_allclose(found[block], flat, rtol=1e-4, atol=1e-6)


def test_where_all_layers_adapt_there_is_no_body_block():
    learner = smooth_learner(adapted_layers="all")
    inputs, labels = meta_batch((4,))
    assert set(gradient_of(learner, inputs, labels)) == {"head"}


def test_measuring_moves_no_parameter_and_no_task_leaks_into_another():
    """With batch statistics of each task, the gradient of two tasks is the mean of their own gradients."""
    learner = conv_learner()
    before = [variable.numpy() for variable in learner.trainable_variables]
    inputs, labels = meta_batch((16, 16, 1), tasks=2)
    both = gradient_of(learner, inputs, labels)
    single = [
        gradient_of(learner, {k: v[i : i + 1] for k, v in inputs.items()}, labels[i : i + 1])
        for i in (0, 1)
    ]
    for block, vector in both.items():
        mean = (single[0][block] + single[1][block]) / 2
        np.testing.assert_allclose(vector, mean, rtol=1e-3, atol=1e-5 * np.abs(mean).max())
    for variable, old in zip(learner.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable, old)
