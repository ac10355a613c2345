"""What is read of Keras beyond its public API (3.x), and why; nowhere else in the library.

Keras' own subclassing hooks stand where they are overridden: `anil_tf/learner/replicated_model.py`.
"""

from collections.abc import Callable, Iterator
from typing import Any

import keras


def flattened_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Yields a model and all layers in it, those inside composite layers too, which `model.layers` leaves out."""
    yield from model._flatten_layers()


def own_trainable_variables(layer: Any) -> list[keras.Variable]:
    """Returns the trainable variables that a layer made itself, without those of layers inside it."""
    return getattr(layer, "_trainable_variables", [])


def is_graph(model: keras.Model) -> bool:
    """Whether a model keeps the graph that `nodes` reads; a Sequential does not."""
    return hasattr(model, "_nodes_by_depth")


def nodes(model: keras.Model) -> list[Any]:
    """Returns the nodes of a functional model, one per use of an operation; `model.operations` has each once."""
    by_depth = getattr(model, "_nodes_by_depth", {})
    return [node for level in by_depth.values() for node in level if not node.is_input]


def origin(tensor: Any) -> Any:
    """Returns the operation that a symbolic tensor comes from."""
    return tensor._keras_history.operation


def run_through_graph(model: keras.Model, inputs: Any, call: Callable[..., Any]) -> Any:
    """Returns the outputs of a functional model whose operations are called as call(operation, *args, **kwargs).

    `keras.models.clone_model` would do from an Input only: a nested model may start in the middle of a graph.
    """
    return model._run_through_graph(inputs, operation_fn=lambda layer: layer, call_fn=call)
