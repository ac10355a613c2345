"""Mixed precision for a body alone."""

import keras


def compute_in_bfloat16(body: keras.Model) -> None:
    """Makes the layers of a body compute in bfloat16; their weights, and the head, stay float32.

    Args:
        body: changed in place.
    """
    for layer in body._flatten_layers():
        layer.dtype_policy = "mixed_bfloat16"
