"""Cuts a Keras model into a body, shared by all tasks, and a head, adapted to each.

The head is the last k layers that own a kernel (a trainable weight of two or more axes); normalisation, activations and
pooling belong to the kernel before them. The cut is one tensor of the model's graph through which everything flows: a
residual block therefore moves whole. Body and head share their layers, and so their weights, with the model given; only
a last layer whose softmax is taken off is a copy.
"""

import dataclasses
from typing import Any

import keras
from absl import logging

from anil_tf.models.keras_internals import run_through_graph
from anil_tf.models.structure import owns_kernel

ALL = "all"


@dataclasses.dataclass(frozen=True)
class _Node:
    """One call of one operation: what went in and what came out, as Keras tensors."""

    operation: Any
    args: tuple
    kwargs: dict
    outputs: Any


def split(model: keras.Model, adapted_layers: int | str) -> tuple[keras.Model, keras.Model]:
    """Cuts `model` before its last `adapted_layers` layers.

    A final softmax is removed, since losses here take logits: left in, it would ruin training silently.

    Args:
        model: a Sequential or functional Keras model, nested or not, with one input and one output.
        adapted_layers: how many kernel layers the head takes: 1 is ANIL, 2 the paper's nonconvex case, "all" is MAML.

    Returns:
        `(body, head)`: two functional Keras models with `head(body(x))` equal to the logits of `model(x)`. For "all"
        the body passes its input on.

    Raises:
        ValueError: for a subclassed model, several inputs or outputs, or a number of layers that the model lacks.

    Example:
        >>> body, head = split(keras.applications.MobileNetV3Small(weights=None), adapted_layers=1)
    """
    _check(model)
    inputs = keras.Input(batch_shape=model.inputs[0].shape, dtype=model.inputs[0].dtype)
    nodes: list[_Node] = []
    outputs = _trace(model, inputs, nodes)
    is_all = adapted_layers == ALL
    cut = inputs if is_all else _find_cut(nodes, inputs, outputs, int(adapted_layers))
    features = keras.layers.Identity()(cut) if cut is inputs else cut
    body = keras.Model(inputs, features, name=f"{model.name}_body")
    return body, _head(nodes, cut, outputs, name=f"{model.name}_head")


def _check(model: keras.Model) -> None:
    if not isinstance(model, keras.Model):
        raise ValueError(f"split takes a Keras model. Received: {type(model).__name__}.")
    if not _is_graph(model):
        raise ValueError(
            f"{type(model).__name__} is a subclassed model, whose layers form no graph that could be cut. Expected a "
            "Sequential or functional model. Pass the two parts yourself: MetaLearner(body, head)."
        )
    if not model.built:
        raise ValueError(
            f"The model {model.name!r} is not built, so its shapes are unknown. Start it with keras.Input(shape)."
        )
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(
            f"split takes a model with one input and one output. Received: {len(model.inputs)} inputs and "
            f"{len(model.outputs)} outputs. Pass the two parts yourself: MetaLearner(body, head)."
        )


def _is_graph(layer: Any) -> bool:
    return isinstance(layer, keras.Sequential) or (
        isinstance(layer, keras.Model) and type(layer).__name__ == "Functional"
    )


def _trace(model: keras.Model, inputs: Any, nodes: list[_Node]) -> Any:
    """Calls `model` on `inputs`, nested models layer by layer, and writes each call down in order."""

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        if _is_graph(operation):
            return _trace(operation, args[0], nodes)
        outputs = operation(*args, **kwargs)
        nodes.append(_Node(operation, args, kwargs, outputs))
        return outputs

    if isinstance(model, keras.Sequential):
        for layer in model.layers:
            inputs = call(layer, inputs)
        return inputs
    return keras.tree.flatten(run_through_graph(model, inputs, call))[0]


def _find_cut(nodes: list[_Node], inputs: Any, outputs: Any, wanted: int) -> Any:
    """Returns the last tensor that separates the graph and leaves at least `wanted` kernel layers behind it."""
    total = len({id(node.operation) for node in nodes if owns_kernel(node.operation)})
    if not 1 <= wanted <= total:
        raise ValueError(
            f"adapted_layers must be 1 to {total}, the number of layers with a kernel, or 'all'. Received: {wanted}."
        )
    last_use: dict[int, int] = {}
    for position, node in enumerate(nodes):
        last_use |= {id(t): position for t in keras.tree.flatten((node.args, node.kwargs))}
    last_use[id(outputs)] = len(nodes)
    cut, found, live = inputs, total, {id(inputs): inputs}
    for position, node in enumerate(nodes):
        live |= {id(t): t for t in keras.tree.flatten(node.outputs)}
        live = {key: t for key, t in live.items() if last_use.get(key, -1) > position}
        before = {id(earlier.operation) for earlier in nodes[: position + 1]}
        behind = {id(n.operation) for n in nodes[position + 1 :] if owns_kernel(n.operation)}
        if len(behind) < wanted:
            break
        if len(live) == 1 and not behind & before:
            cut, found = next(iter(live.values())), len(behind)
    if found != wanted:
        logging.info(
            "adapted_layers=%d falls inside a block, which moves whole: %d layers are adapted.",
            wanted,
            found,
        )
    return cut


def _head(nodes: list[_Node], cut: Any, outputs: Any, name: str) -> keras.Model:
    """Calls again, on a fresh input, every node that depends on the cut."""
    start = keras.Input(batch_shape=cut.shape, dtype=cut.dtype)
    fresh = {id(cut): start}

    def renew(tensor: Any) -> Any:
        return fresh.get(id(tensor), tensor)

    for node in nodes:
        if not any(id(t) in fresh for t in keras.tree.flatten((node.args, node.kwargs))):
            continue
        is_last = node.outputs is outputs
        operation = _without_softmax(node.operation) if is_last else node.operation
        args, kwargs = keras.tree.map_structure(renew, (node.args, node.kwargs))
        results = args[0] if operation is None else operation(*args, **kwargs)
        for old, new in zip(
            keras.tree.flatten(node.outputs), keras.tree.flatten(results), strict=True
        ):
            fresh[id(old)] = new
    return keras.Model(start, fresh[id(outputs)], name=name)


def _without_softmax(layer: Any) -> Any:
    """Returns the last layer without its softmax, and None for a layer that is nothing else."""
    is_only_softmax = type(layer).__name__ == "Softmax"  # the layer, and the operation of keras.ops
    if not (is_only_softmax or getattr(layer, "activation", None) is keras.activations.softmax):
        return layer
    logging.info("The final softmax of the model is removed: losses here take logits.")
    if is_only_softmax or isinstance(layer, keras.layers.Activation):
        return None
    linear = type(layer).from_config(layer.get_config() | {"activation": "linear"})
    linear.build(layer.get_build_config()["input_shape"])
    linear.set_weights(layer.get_weights())
    return linear
