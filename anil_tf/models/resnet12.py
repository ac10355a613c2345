"""ResNet-12: the deeper body of the few-shot literature."""

from collections.abc import Sequence

import keras

from anil_tf.models import layers


def resnet12(
    *,
    input_shape: tuple[int, int, int],
    classes: int,
    filters: Sequence[int] = (64, 160, 320, 640),
    dropout: float = 0.0,
) -> keras.Model:
    """Four residual blocks of three 3x3 convolutions, each halving the image, then the mean over pixels.

    The widths are those of MetaOptNet (Lee et al. 2019, arXiv:1904.03758).

    Args:
        input_shape: height, width and channels of the images, whose pixels are 0..255; 16 pixels a side at least.
        classes: outputs of the linear layer.
        filters: channels of the four blocks.
        dropout: share of activations dropped after each block in training.

    Returns:
        A functional Keras model: images [batch, height, width, channels] -> logits [batch, classes].
    """
    inputs = keras.Input(input_shape)
    tensor = layers.scale_pixels()(inputs)
    for width in filters:
        tensor = _residual_block(tensor, width)
        if dropout:
            tensor = keras.layers.Dropout(dropout)(tensor)
    tensor = keras.layers.GlobalAveragePooling2D()(tensor)
    return keras.Model(inputs, layers.logits(classes)(tensor), name="resnet12")


def _residual_block(tensor, width: int):
    shortcut = _normalized_convolution(tensor, width, size=1)
    for position in range(3):
        tensor = _normalized_convolution(tensor, width, size=3)
        if position < 2:
            tensor = keras.layers.LeakyReLU(0.1)(tensor)
    tensor = keras.layers.LeakyReLU(0.1)(keras.layers.Add()([tensor, shortcut]))
    return keras.layers.MaxPooling2D()(tensor)


def _normalized_convolution(tensor, width: int, size: int):
    tensor = keras.layers.Conv2D(width, size, padding="same", use_bias=False)(tensor)
    return keras.layers.BatchNormalization()(tensor)
