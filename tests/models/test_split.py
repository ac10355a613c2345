"""Cutting models of every make."""

import keras
import numpy as np
import pytest
from keras import layers

from anil_tf.models import conv4, resnet12, split
from anil_tf.models.structure import kernel_layers


def sequential():
    below = [layers.Conv2D(4, 3), layers.BatchNormalization(), layers.ReLU(), layers.Flatten()]
    dense = [layers.Dense(6, activation="relu"), layers.Dense(5)]
    return keras.Sequential([keras.Input((8, 8, 3)), *below, *dense])


def nested():
    backbone = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.Flatten()])
    inputs = keras.Input((8, 8, 3))
    hidden = keras.Sequential([layers.Dense(6), layers.LayerNormalization()])(backbone(inputs))
    return keras.Model(inputs, layers.Dense(5)(hidden))


def transfer():
    """The usual transfer model: a functional backbone behind a layer."""
    inputs = keras.Input((8,))
    backbone = keras.Model(inputs, layers.Dense(6)(layers.Dense(7)(inputs)))
    images = keras.Input((8,))
    return keras.Model(images, layers.Dense(5)(backbone(layers.Rescaling(0.5)(images))))


def residual():
    inputs = keras.Input((8,))
    hidden = layers.Dense(6)(inputs)
    for _ in range(2):
        branch = layers.Dense(6)(layers.Dense(6, activation="tanh")(hidden))
        hidden = layers.Add()([branch, hidden])
    return keras.Model(inputs, layers.Dense(5)(hidden))


def operations():
    inputs = keras.Input((8,))
    hidden = keras.ops.tanh(layers.Dense(6)(inputs)) * 2.0
    return keras.Model(inputs, layers.Dense(5)(hidden))


def small_resnet12():
    return resnet12(input_shape=(32, 32, 3), classes=5, filters=(2, 3, 4, 5))


@pytest.mark.parametrize(
    ("build", "adapted_layers", "kernels"),
    [
        (sequential, 1, 1),
        (sequential, "all", 3),
        (nested, 2, 2),
        (nested, "all", 3),
        (transfer, 2, 2),
        (transfer, 3, 3),
        (residual, 1, 1),
        (residual, 3, 3),
        (operations, 1, 1),
        (small_resnet12, 2, 5),
    ],
)
def test_head_of_body_is_the_model_and_layers_count_by_kernel(build, adapted_layers, kernels):
    model = build()
    body, head = split(model, adapted_layers)
    assert len(kernel_layers(head)) == kernels
    inputs = np.random.default_rng(0).normal(size=[3, *model.input_shape[1:]]).astype("float32")
    np.testing.assert_allclose(head(body(inputs)), model(inputs), rtol=1e-5, atol=1e-6)
    variables = [id(v) for v in body.trainable_variables + head.trainable_variables]
    assert sorted(variables) == sorted(id(v) for v in model.trainable_variables)


@pytest.mark.parametrize("adapted_layers", [2, 3])
def test_a_residual_block_moves_whole_and_this_is_said(adapted_layers, caplog):
    with caplog.at_level("INFO", logger="absl"):
        _, head = split(residual(), adapted_layers)
    assert len(kernel_layers(head)) == 3
    assert ("moves whole: 3 layers" in caplog.text) == (adapted_layers == 2)


def test_normalisation_and_pooling_go_with_the_kernel_before_them():
    body, head = split(conv4(input_shape=(32, 32, 3), classes=5, filters=4), 2)
    names = [type(layer).__name__ for layer in head.layers]
    assert names[1:] == ["Conv2D", "BatchNormalization", "MaxPooling2D", "ReLU", "Flatten", "Dense"]
    assert type(body.layers[-1]).__name__ == "ReLU"


@pytest.mark.parametrize("form", ["argument", "layer", "activation", "operation"])
def test_a_final_softmax_is_removed(form, caplog):
    last = {
        "argument": lambda x: layers.Dense(5, activation="softmax")(x),
        "layer": lambda x: layers.Softmax()(layers.Dense(5)(x)),
        "activation": lambda x: layers.Activation("softmax")(layers.Dense(5)(x)),
        "operation": lambda x: keras.ops.softmax(layers.Dense(5)(x)),
    }
    images = keras.Input((4,))
    model = keras.Model(images, last[form](layers.Dense(6)(images)))
    with caplog.at_level("INFO", logger="absl"):
        body, head = split(model, 1)
    inputs = np.random.default_rng(0).normal(size=[3, 4]).astype("float32")
    logits = head(body(inputs))
    assert "softmax" in caplog.text
    np.testing.assert_allclose(keras.ops.softmax(logits), model(inputs), rtol=1e-5)
    assert np.abs(np.sum(logits, axis=1) - 1).min() > 1e-3


class Subclassed(keras.Model):
    pass


def fork():
    inputs = keras.Input((4,))
    return keras.Model(inputs, [layers.Dense(2)(inputs), layers.Dense(3)(inputs)])


@pytest.mark.parametrize(
    ("build", "adapted_layers", "message"),
    [
        (Subclassed, 1, r"subclassed.*MetaLearner\(body, head\)"),
        (sequential, 0, "must be 1 to 3.*Received: 0"),
        (sequential, 4, "must be 1 to 3.*Received: 4"),
        (lambda: keras.Sequential([layers.Dense(3)]), 1, "not built"),
        (fork, 1, "2 outputs"),
    ],
)
def test_what_cannot_be_cut_is_refused(build, adapted_layers, message):
    with pytest.raises(ValueError, match=message):
        split(build(), adapted_layers)
