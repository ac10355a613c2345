"""A Keras model as a pure function."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from anil_tf.models.normalization import Batch, Moving
from anil_tf.models.pure_call import pure_call

ONES = tf.ones([6, 8])


def normalized():
    keras.utils.set_random_seed(0)
    middle = [layers.Dense(8), layers.BatchNormalization(), layers.Dropout(0.5)]
    return keras.Sequential([keras.Input((8,)), *middle, layers.Dense(3)])


def two_dropouts():
    """Returns both masks, each 0 or 2."""
    inputs = keras.Input((8,))
    masks = [layers.Dropout(0.5)(inputs), layers.Dropout(0.5)(inputs)]
    return keras.Model(inputs, layers.Concatenate()(masks))


TWO_DROPOUTS = two_dropouts()


def masks(seed):
    outputs, _ = pure_call(
        TWO_DROPOUTS, None, ONES, statistics=Moving(), dropout_seed=tf.constant(seed)
    )
    return np.split(outputs.numpy(), 2, axis=1)


def test_it_equals_the_model_and_changes_nothing():
    model = normalized()
    before = [np.array(variable) for variable in model.variables]
    outputs, used = pure_call(model, None, ONES, statistics=Moving())
    np.testing.assert_allclose(outputs, model(ONES, training=False), rtol=1e-6)
    assert used == {}
    pure_call(model, None, ONES, statistics=Batch(), dropout_seed=tf.constant([0, 1]))
    for old, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, variable)


def test_given_variables_take_the_place_of_the_models_own():
    model = normalized()
    inputs = tf.constant(np.random.default_rng(0).normal(size=[6, 8]), tf.float32)
    doubled = [2.0 * tf.convert_to_tensor(v) for v in model.trainable_variables]
    outputs, used = pure_call(model, doubled, inputs, statistics=Batch())
    own, _ = pure_call(model, None, inputs, statistics=Batch())
    for variable, value in zip(model.trainable_variables, doubled, strict=True):
        variable.assign(value)
    expected, _ = pure_call(model, None, inputs, statistics=Batch())
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)
    assert np.abs(outputs - own).max() > 1e-3
    assert len(used) == 1


def test_dropout_is_on_exactly_when_a_seed_is_given():
    outputs, _ = pure_call(TWO_DROPOUTS, None, ONES, statistics=Moving())
    np.testing.assert_array_equal(outputs, np.ones([6, 16]))
    assert set(np.unique(masks([0, 1]))) == {0.0, 2.0}


def test_a_mask_is_a_function_of_the_seed_and_the_layer():
    first, second = masks([3, 4])
    assert np.any(first != second), "layers draw their own"
    for other in ([3, 5], [2, 4]):
        assert np.any(masks(other)[0] != first)
    compiled = tf.function(
        lambda seed: pure_call(TWO_DROPOUTS, None, ONES, statistics=Moving(), dropout_seed=seed)[0]
    )(tf.constant([3, 4]))
    for again in (masks([3, 4]), np.split(compiled.numpy(), 2, axis=1)):
        np.testing.assert_array_equal(again, [first, second])


def test_a_frozen_layer_can_stand_in_a_custom_gradient():
    """TensorFlow's tapes watch its variables all the same, and custom gradients refuse what is watched."""
    inputs = keras.Input((3,))
    frozen = keras.layers.Dense(4, trainable=False)
    model = keras.Model(inputs, keras.layers.Dense(2)(frozen(inputs)))
    given = [tf.convert_to_tensor(v) for v in model.trainable_variables]

    @tf.custom_gradient
    def outputs(*variables):
        value, _ = pure_call(model, list(variables), tf.ones([5, 3]), statistics=Moving())
        return value, lambda slope: [tf.zeros_like(v) for v in variables]

    with tf.GradientTape() as tape:
        tape.watch(given)
        value = tf.reduce_sum(outputs(*given))
    np.testing.assert_allclose(tape.gradient(value, given)[0], np.zeros([4, 2]))
    np.testing.assert_allclose(outputs(*given), model(tf.ones([5, 3])), rtol=1e-6)
