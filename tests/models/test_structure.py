"""What a model is made of."""

import keras
import pytest

from anil_tf.models.structure import is_linear, pools_by_maximum


class Bent(keras.layers.Dense):
    """A Dense layer that is not linear, though its activation says so."""

    def call(self, inputs):
        return keras.ops.tanh(super().call(inputs))


def functional(transform):
    inputs = keras.Input((4,))
    return keras.Model(inputs, transform(inputs))


def nested(inputs):
    return functional(keras.layers.Dense(3))(inputs)


def sequential(*layers):
    return lambda inputs: keras.Sequential([keras.Input((4,)), *layers])(inputs)


def twice(inputs):
    layer = keras.layers.Dense(4)
    return layer(layer(inputs))


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        (keras.layers.Dense(3), True),
        (nested, True),
        (sequential(keras.layers.Flatten(), keras.layers.Dense(3)), True),
        (sequential(keras.layers.Dense(3), keras.layers.ReLU()), False),
        (keras.layers.Dense(3, activation="tanh"), False),
        (Bent(3), False),
        (twice, False),
        (sequential(keras.layers.Dropout(0.5), keras.layers.Dense(3)), False),
        (lambda x: 3.0 * keras.ops.tanh(keras.layers.Dense(3)(x)), False),
    ],
)
def test_a_head_is_linear_when_all_it_applies_is_one_dense_layer(transform, expected):
    assert is_linear(functional(transform)) == expected


def test_maximum_pooling_is_found():
    pooled = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.MaxPooling2D()])
    average = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.AveragePooling2D(2)])
    assert pools_by_maximum(pooled) and not pools_by_maximum(average)
