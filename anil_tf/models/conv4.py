"""Conv4: the four-block convolutional network of the few-shot literature."""

import keras

from anil_tf.models import layers

POOLINGS = ("max", "average")


def conv4(
    *,
    input_shape: tuple[int, int, int],
    classes: int,
    filters: int = 64,
    pooling: str = "max",
    strided: bool = False,
) -> keras.Model:
    """Four blocks of 3x3 convolution, batch normalisation, ReLU and halving, then one linear layer.

    Vinyals et al. 2016 (arXiv:1606.04080); the strided form without pooling is the one that Finn et al. 2017
    (arXiv:1703.03400) use on Omniglot. Convolutions carry no bias: batch normalisation would cancel it, and Adam would
    amplify the rounding noise left in its gradient.

    Args:
        input_shape: height, width and channels of the images, whose pixels are 0..255.
        classes: outputs of the linear layer.
        filters: channels of each block.
        pooling: "max" or "average", over 2x2 pixels.
        strided: halve by a stride of 2 in the convolution, and not by pooling; features are then averaged over pixels.

    Returns:
        A functional Keras model: images [batch, height, width, channels] -> logits [batch, classes].

    Raises:
        ValueError: for an unknown pooling, or images under 16 pixels, which four halvings would use up.
    """
    if pooling not in POOLINGS:
        raise ValueError(f"pooling must be one of {', '.join(POOLINGS)}. Received: {pooling!r}.")
    if not strided and min(input_shape[:2]) < 16:
        raise ValueError(
            f"Conv4 halves its images four times and needs 16 pixels a side. Received: input_shape={input_shape}. "
            "Take the strided body, or larger images."
        )
    inputs = keras.Input(input_shape)
    tensor = layers.scale_pixels()(inputs)
    for _ in range(4):
        tensor = keras.layers.Conv2D(
            filters, 3, strides=2 if strided else 1, padding="same", use_bias=False
        )(tensor)
        tensor = keras.layers.BatchNormalization()(tensor)
        for layer in _activate_and_halve(pooling, strided):
            tensor = layer(tensor)
    gather = keras.layers.GlobalAveragePooling2D() if strided else keras.layers.Flatten()
    return keras.Model(inputs, layers.logits(classes)(gather(tensor)), name="conv4")


def _activate_and_halve(pooling: str, strided: bool) -> list[keras.layers.Layer]:
    activation = keras.layers.ReLU()
    if strided:
        return [activation]
    if pooling == "average":
        return [activation, keras.layers.AveragePooling2D(2)]
    # ReLU commutes with the maximum: after the pooling it has a quarter of the pixels to do.
    return [keras.layers.MaxPooling2D(), activation]
