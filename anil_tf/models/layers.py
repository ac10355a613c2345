"""The two ends that every network of the library has: pixels come in as 0..255, logits go out in float32."""

import keras


def scale_pixels() -> keras.layers.Layer:
    """Returns a layer that maps pixels 0..255 to 0..1, in the network's own precision."""
    return keras.layers.Rescaling(1.0 / 255.0)


def logits(classes: int) -> keras.layers.Dense:
    """Returns the last linear layer; in float32 also where the body computes in bfloat16."""
    policy = keras.config.dtype_policy()
    mixed = policy.compute_dtype != policy.variable_dtype
    return keras.layers.Dense(
        classes, dtype=policy.variable_dtype if mixed else None, name="logits"
    )
