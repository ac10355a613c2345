"""Where the head of a task starts, by the name that a setting gives it."""

import math
from collections.abc import Callable

import keras
import tensorflow as tf

from anil_tf.adaptation.ridge import ridge_regression
from anil_tf.models.heads import (
    CosineHead,
    FreeHead,
    Head,
    SymmetricHead,
    prototype_start,
    zero_start,
)

INITIALIZATIONS = ("free", "zero", "prototype", "ridge", "nil")

# Makes a learned scalar: (name, initial value) -> variable.
MakeScalar = Callable[[str, float], keras.Variable]

_RIDGE_SCALE = 10.0


def make_head(
    model: keras.Model, initialization: str, make_scalar: MakeScalar, *, l2: float = 0.0
) -> Head:
    """Returns the head of the given initialization.

    Args:
        model: the head as `split` returns it.
        initialization: "free", "zero", "prototype", "ridge" (closed-form ridge regression on one-hot targets, times a
            learned scale: R2D2) or "nil" (cosine to the class means). The last two have no inner loop.
        make_scalar: makes what these learn beside the model: the scale of prototypes; scale and log lambda of ridge.
        l2: where the lambda of "ridge" starts, above 0.

    Raises:
        ValueError: for an unknown initialization, "ridge" without l2, or a model without a last linear layer for any
            but "free".
    """
    if initialization == "free":
        return FreeHead(model)
    if initialization == "zero":
        return SymmetricHead(model, lambda width: zero_start)
    if initialization == "prototype":
        return SymmetricHead(model, lambda width: _prototypes(make_scalar, width))
    if initialization == "ridge":
        if l2 <= 0:
            raise ValueError(
                f"A ridge head needs inner_l2 > 0, where its own l2 starts. Received: inner_l2={l2:g}."
            )
        return SymmetricHead(model, lambda width: _ridge(make_scalar, l2), has_inner_loop=False)
    if initialization == "nil":
        return CosineHead(model)
    raise ValueError(
        f"head_initialization must be one of {', '.join(INITIALIZATIONS)}. Received: {initialization!r}."
    )


def _prototypes(make_scalar: MakeScalar, width: int) -> Callable:
    # Squared distances grow with the width of the features; this start keeps the first logits near 1.
    scale = make_scalar("prototype_scale", width**-0.5)
    return lambda hidden, labels, ways: prototype_start(hidden, labels, ways, scale)


def _ridge(make_scalar: MakeScalar, l2: float) -> Callable:
    # No bias is learned beside the scale: one that all classes share cancels in softmax, so its gradient is zero.
    scale = make_scalar("ridge_scale", _RIDGE_SCALE)
    log_l2 = make_scalar("ridge_log_l2", math.log(l2))

    def start(
        hidden: tf.Tensor, labels: tf.Tensor, ways: int | tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        factor = tf.cast(scale, hidden.dtype)
        if labels.dtype.is_floating:  # numbers are fitted as they are: their scale starts at 1
            factor /= _RIDGE_SCALE
            targets = tf.cast(labels, hidden.dtype)
        else:
            targets = tf.one_hot(labels, ways, dtype=hidden.dtype)
        kernel, bias = ridge_regression(hidden, targets, tf.exp(tf.cast(log_l2, hidden.dtype)))
        return factor * kernel, factor * bias

    return start
