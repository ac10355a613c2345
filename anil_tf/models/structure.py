"""What a Keras model is made of, as far as adaptation has to know."""

from collections.abc import Iterator
from typing import Any

import keras

from anil_tf.models.keras_internals import (
    flattened_layers,
    is_graph,
    nodes,
    own_trainable_variables,
)


def owns_kernel(layer: Any) -> bool:
    """Whether a layer has a kernel of its own: a trainable weight of two or more axes."""
    return any(len(variable.shape) >= 2 for variable in own_trainable_variables(layer))


def kernel_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Returns the layers of `model` that own a kernel, in the order of the model's layers."""
    return [layer for layer in flattened_layers(model) if owns_kernel(layer)]


def has_convolutions(model: keras.Model) -> bool:
    """Whether a head has filters, which would be a task's own, and which no vectorised kernel takes."""
    return any("Conv" in type(layer).__name__ for layer in kernel_layers(model))


def draws_at_random(model: keras.Model) -> bool:
    """Whether some layer draws random numbers: drawing from one seed per task cannot be vectorised."""
    return any("seed_generator" in variable.path for variable in model.non_trainable_variables)


def is_linear(head: keras.Model) -> bool:
    """Whether a head is one linear layer: the inner loss is then convex in it, and has closed forms."""
    working = [operation for operation in _operations(head) if not _only_passes_on(operation)]
    return (
        len(working) == 1
        and type(working[0]) is keras.layers.Dense
        and working[0].activation is keras.activations.linear
    )


def _only_passes_on(operation: Any) -> bool:
    """Whether an operation leaves the numbers of an example as they are, in their order."""
    if isinstance(operation, keras.layers.Flatten):
        return operation.data_format == "channels_last"
    return isinstance(operation, keras.layers.InputLayer | keras.layers.Identity)


def pools_by_maximum(model: keras.Model) -> bool:
    """Whether a model takes maxima over windows of images."""
    return any("MaxPool" in type(layer).__name__ for layer in flattened_layers(model))


def _operations(model: keras.Model) -> Iterator[Any]:
    """Everything a model applies, each as often as it does: layers, and operations that are none."""
    applied = [node.operation for node in nodes(model)] if is_graph(model) else model.layers
    for operation in applied:
        if isinstance(operation, keras.Model):
            yield from _operations(operation)
        else:
            yield operation


def count_parameters(variables: list[keras.Variable]) -> int:
    """Returns the number of entries of all variables together."""
    return sum(variable.value.shape.num_elements() for variable in variables)
