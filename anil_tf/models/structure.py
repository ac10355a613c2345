"""What a Keras model is made of, as far as adaptation has to know."""

from typing import Any

import keras


def owns_kernel(layer: Any) -> bool:
    """Whether a layer has a kernel of its own: a trainable weight of two or more axes."""
    own = getattr(layer, "_trainable_variables", [])
    return any(len(variable.shape) >= 2 for variable in own)


def kernel_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Returns the layers of `model` that own a kernel, in the order of the model's layers."""
    return [layer for layer in model._flatten_layers() if owns_kernel(layer)]


def has_convolutions(model: keras.Model) -> bool:
    """Whether a head has filters, which would be a task's own, and which no vectorised kernel takes."""
    return any("Conv" in type(layer).__name__ for layer in kernel_layers(model))


def draws_at_random(model: keras.Model) -> bool:
    """Whether some layer draws random numbers: drawing from one seed per task cannot be vectorised."""
    return any("seed_generator" in variable.path for variable in model.non_trainable_variables)


def is_linear(head: keras.Model) -> bool:
    """Whether a head is one linear layer: the inner loss is then convex in it."""
    harmless = keras.layers.InputLayer | keras.layers.Flatten | keras.layers.Identity
    layers = head._flatten_layers(include_self=False)
    working = [layer for layer in layers if not isinstance(layer, harmless)]
    return (
        len(working) == 1
        and isinstance(working[0], keras.layers.Dense)
        and working[0].activation is keras.activations.linear
    )


def count_parameters(variables: list[keras.Variable]) -> int:
    """Returns the number of entries of all variables together."""
    return sum(variable.value.shape.num_elements() for variable in variables)
