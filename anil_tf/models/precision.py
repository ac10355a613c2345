"""Mixed precision for a body alone."""

import keras

from anil_tf.models.keras_internals import flattened_layers


def compute_in_bfloat16(body: keras.Model) -> None:
    """Makes the layers of a body compute in bfloat16; their weights, and the head, stay float32.

    Args:
        body: changed in place.
    """
    for layer in flattened_layers(body):
        layer.dtype_policy = "mixed_bfloat16"
