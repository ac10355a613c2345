"""A multi-layer perceptron: for vectors, and for the sinusoid tasks of Finn et al. 2017."""

import math
from collections.abc import Sequence

import keras

from anil_tf.models import layers


def mlp(
    *,
    input_shape: tuple[int, ...],
    classes: int,
    units: Sequence[int] = (40, 40),
    activation: str = "relu",
    scale_inputs: bool = False,
) -> keras.Model:
    """Fully connected layers, then one linear layer.

    Args:
        input_shape: shape of one example; flattened.
        classes: outputs of the linear layer; 1 for scalar regression.
        units: widths of the hidden layers; (40, 40) is the sinusoid network of arXiv:1703.03400.
        activation: any Keras activation; "tanh" or "softplus" make the network smooth.
        scale_inputs: whether the examples are pixels 0..255, to be mapped to 0..1.

    Returns:
        A functional Keras model: [batch, *input_shape] -> [batch, classes].
    """
    inputs = keras.Input(input_shape)
    tensor = layers.scale_pixels()(inputs) if scale_inputs else inputs
    tensor = keras.layers.Reshape((math.prod(input_shape),))(tensor)
    for width in units:
        tensor = keras.layers.Dense(width, activation=activation)(tensor)
    return keras.Model(inputs, layers.logits(classes)(tensor), name="mlp")
