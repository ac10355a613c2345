"""Where batch normalisation takes its statistics from while a task passes through a network.

A task is a batch: its support images, then its query images. Inside `task_statistics`, every batch-normalisation layer
of a Keras model takes mean and variance from one of

* `Batch()`: all images of the task (`episode`: the predictions of a query depend on its neighbours);
* `Batch(rows=n)`: the first n images, the support (`support`: a query's prediction is its own affair);
* `Given(statistics)`: statistics recorded earlier, for queries that arrive after adaptation;
* `Moving()`: the layer's moving statistics (`running`).

Keras' `training` flag then governs dropout alone. A frozen layer (`trainable=False`) keeps its moving statistics, as
everywhere in Keras. Any Keras model will do: the layers are lent another `call` for the time of one trace, and are
never altered. Layers of our own in their place would need no loan, but they would miss those inside composite layers
and those of models that were saved before, and could not fold the first layer's statistics into the convolution in
front of it; and a source that travels with the call would need Keras' call context, which is private. How the work is
done is in `batch_normalization.py` and, for the first layer, `image_convolution.py`.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Iterator

import keras
import tensorflow as tf

from anil_tf.models.batch_normalization import batch_normalize
from anil_tf.models.image_convolution import normalized_convolution, normalized_convolutions
from anil_tf.models.keras_internals import flattened_layers

# One (mean, variance) pair, each [channels] float32, under the layer's index in `batch_normalizations`.
Statistics = dict[str, tuple[tf.Tensor, tf.Tensor]]


@dataclasses.dataclass(frozen=True)
class Batch:
    """Statistics of the first `rows` rows of the batch; of all of them when `rows` is None.

    With `plain`, they are computed layer by layer in operations that every runtime has, and not by TensorFlow's fused
    kernels nor through the convolution before.
    """

    rows: int | tf.Tensor | None = None
    plain: bool = False


@dataclasses.dataclass(frozen=True)
class Given:
    """Statistics recorded by an earlier pass over the same model."""

    statistics: Statistics


@dataclasses.dataclass(frozen=True)
class Moving:
    """The layers' own moving statistics."""


Source = Batch | Given | Moving


def batch_normalizations(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Returns the batch-normalisation layers of `model` that are not frozen, in a fixed order."""
    return [
        layer
        for layer in flattened_layers(model)
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]


@contextlib.contextmanager
def task_statistics(model: keras.Model, source: Source) -> Iterator[Statistics]:
    """Makes the batch normalisation of `model` take its statistics from `source`.

    Args:
        model: any Keras model.
        source: where mean and variance come from.

    Yields:
        The statistics used, filled in while the model is called; empty for `Moving`.

    Example:
        >>> with task_statistics(body, Batch(rows=5)) as statistics:
        ...     features = body(images, training=False)
    """
    recorded: Statistics = {}
    lent: list[keras.layers.Layer] = []
    if not isinstance(source, Moving):
        plain = isinstance(source, Batch) and source.plain
        convolutions = {} if plain else normalized_convolutions(model)
        for index, layer in enumerate(batch_normalizations(model)):
            key, convolution = str(index), convolutions.get(id(layer))
            if convolution is None or isinstance(source, Given):
                layer.call = functools.partial(_normalize, layer, key, source, recorded)
                lent.append(layer)
            else:
                convolution.call = functools.partial(
                    _normalize_convolution, convolution, layer, key, source, recorded
                )
                layer.call = _pass_on
                lent += [convolution, layer]
    try:
        yield recorded
    finally:
        for layer in lent:
            del layer.call


def _normalize(
    layer: keras.layers.BatchNormalization,
    key: str,
    source: Batch | Given,
    recorded: Statistics,
    inputs: tf.Tensor,
    training: bool | None = None,
    mask: tf.Tensor | None = None,
) -> tf.Tensor:
    """Stands in for `BatchNormalization.call`; the moments are taken in float32 at least, as there."""
    dtype = keras.backend.result_type(inputs.dtype, "float32")
    scale = None if layer.gamma is None else tf.cast(layer.gamma, dtype)
    offset = None if layer.beta is None else tf.cast(layer.beta, dtype)
    if isinstance(source, Batch) and _is_fusable(layer, inputs, source):
        channels = inputs.shape[-1]
        outputs, mean, variance = batch_normalize(
            inputs,
            tf.ones([channels]) if scale is None else scale,
            tf.zeros([channels]) if offset is None else offset,
            epsilon=layer.epsilon,
        )
        recorded[key] = (mean, variance)
        return outputs
    inputs = tf.cast(inputs, dtype)
    if isinstance(source, Given):
        mean, variance = source.statistics[key]
    else:
        rows = inputs if source.rows is None else inputs[: source.rows]
        mean, variance = _moments(rows, layer.axis)
    recorded[key] = (mean, variance)
    outputs = keras.ops.batch_normalization(
        inputs, mean, variance, layer.axis, offset=offset, scale=scale, epsilon=layer.epsilon
    )
    return tf.cast(outputs, layer.compute_dtype)


def _normalize_convolution(
    convolution: keras.layers.Conv2D,
    layer: keras.layers.BatchNormalization,
    key: str,
    source: Batch,
    recorded: Statistics,
    inputs: tf.Tensor,
) -> tf.Tensor:
    """Stands in for `Conv2D.call`, and does the work of the batch normalisation behind it."""
    outputs, mean, variance = normalized_convolution(
        convolution,
        inputs,
        layer.gamma,
        layer.beta,
        epsilon=layer.epsilon,
        rows=source.rows,
    )
    recorded[key] = (mean, variance)
    return outputs


def _pass_on(
    inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None
) -> tf.Tensor:
    """Stands in for `BatchNormalization.call` where the convolution before it has done the work."""
    return inputs


def _moments(rows: tf.Tensor, channels: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and variance over all axes but that of the channels.

    `tf.nn.moments`, and with it `keras.ops.moments`, holds the mean constant inside the variance. That leaves first
    derivatives right and second ones, which the inner loop needs, wrong.
    """
    axes = [axis for axis in range(rows.shape.rank) if axis != channels % rows.shape.rank]
    mean = tf.reduce_mean(rows, axis=axes, keepdims=True)
    variance = tf.reduce_mean(tf.square(rows - mean), axis=axes)
    return tf.squeeze(mean, axis=axes), variance


def _is_fusable(layer: keras.layers.BatchNormalization, inputs: tf.Tensor, source: Batch) -> bool:
    """Whether the fused kernels (images, channels last, whole batch, at most 32 bits) apply."""
    return (
        not source.plain
        and source.rows is None
        and inputs.shape.rank == 4
        and layer.axis in (-1, 3)
        and inputs.dtype in (tf.float32, tf.bfloat16)
    )


def update_moving_statistics(model: keras.Model | None, statistics: Statistics) -> None:
    """Moves the moving statistics of `model` once, towards the mean over the tasks of all replicas.

    Args:
        model: the Keras model that the statistics were recorded on; None where there were none to record.
        statistics: as recorded, with a leading axis of tasks: means and variances [tasks, channels].
    """
    if model is None or not statistics:
        return
    layers = batch_normalizations(model)
    means = tf.nest.map_structure(
        lambda value: tf.reduce_mean(tf.stop_gradient(value), axis=0), statistics
    )
    replica = tf.distribute.get_replica_context()
    if replica is not None and replica.num_replicas_in_sync > 1:
        means = replica.all_reduce(tf.distribute.ReduceOp.MEAN, means)
    for key, (mean, variance) in means.items():
        layer = layers[int(key)]
        for moving, value in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
            target = tf.cast(value, moving.dtype)
            moving.assign(moving * layer.momentum + target * (1.0 - layer.momentum))
