"""Smooth conv4: a network for which the assumptions of the convergence theory hold.

Gradients and Hessians that are Lipschitz need a body without kinks: no ReLU, no maximum. Batch statistics have no place
either, because one image's features would depend on the others. And bounded features bound the constants of the head.
"""

from typing import Any

import keras

from anil_tf.models import layers

# The convolutions start with this gain, and the features are multiplied by that scale: together they make features of
# natural images about 1 in root mean square at the start (0.9 to 1.1 for FC100, 32 or 64 filters).
_GAIN = 2.0
_SCALE = 3.5


def smooth_conv4(
    *, input_shape: tuple[int, int, int], classes: int, filters: int = 64
) -> keras.Model:
    """Four blocks of 3x3 convolution, tanh and average pooling, then one linear layer; infinitely smooth.

    Images are standardised one by one, which is a constant to all weights and stands in for batch normalisation at the
    entrance.

    Args:
        input_shape: height, width and channels of the images, whose pixels are 0..255.
        classes: outputs of the linear layer.
        filters: channels of each block.

    Returns:
        A functional Keras model: images [batch, height, width, channels] -> logits [batch, classes].

    Raises:
        ValueError: for images under 16 pixels, which four halvings would use up.
    """
    if min(input_shape[:2]) < 16:
        raise ValueError(
            "Smooth conv4 halves its images four times and needs 16 pixels a side. "
            f"Received: input_shape={input_shape}. Take larger images."
        )
    inputs = keras.Input(input_shape)
    tensor = StandardizedImages()(layers.scale_pixels()(inputs))
    for _ in range(4):
        initializer = keras.initializers.VarianceScaling(_GAIN, distribution="truncated_normal")
        convolution = keras.layers.Conv2D(
            filters, 3, padding="same", activation="tanh", kernel_initializer=initializer
        )
        tensor = keras.layers.AveragePooling2D(2)(convolution(tensor))
    tensor = keras.layers.Rescaling(_SCALE)(keras.layers.Flatten()(tensor))
    return keras.Model(inputs, layers.logits(classes)(tensor), name="smooth_conv4")


@keras.saving.register_keras_serializable(package="anil_tf")
class StandardizedImages(keras.layers.Layer):
    """Each image by itself brought to mean 0 and variance 1 over its pixels and channels."""

    def call(self, inputs: Any) -> Any:
        """Returns the images [batch, height, width, channels], standardised; an empty one as zeros."""
        mean, variance = keras.ops.moments(inputs, axes=[1, 2, 3], keepdims=True)
        return (inputs - mean) * keras.ops.rsqrt(variance + 1e-6)
