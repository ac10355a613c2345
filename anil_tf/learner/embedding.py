"""Features of the images of tasks: the shared body, run as often as the tasks need."""

from collections.abc import Callable

import keras
import tensorflow as tf

from anil_tf.adaptation.over_tasks import over_tasks
from anil_tf.models.normalization import Moving, Source, Statistics, batch_normalizations
from anil_tf.models.pure_call import pure_call
from anil_tf.models.structure import draws_at_random


def embed(
    body: keras.Model,
    images: tf.Tensor,
    source: Source,
    *,
    dtype: str,
    dropout_seed: tf.Tensor | None = None,
) -> tuple[tf.Tensor, Statistics]:
    """Embeds images.

    Args:
        body: images -> features.
        images: [rows, ...].
        source: where batch normalisation takes its statistics from.
        dtype: of the features.
        dropout_seed: int [2]; dropout is on exactly when it is given.

    Returns:
        Features [rows, ...], and the statistics of batch normalisation used, each [channels].
    """
    images = tf.cast(images, body.variable_dtype)
    features, statistics = pure_call(
        body, None, images, statistics=source, dropout_seed=dropout_seed
    )
    return tf.cast(features, dtype), statistics


def embed_tasks(
    body: keras.Model,
    images: tf.Tensor,
    source: Source,
    *,
    dtype: str,
    seed_of_task: Callable[[tf.Tensor], tf.Tensor] | None = None,
    tasks: tf.Tensor,
) -> tuple[tf.Tensor, Statistics]:
    """Embeds the images of tasks.

    The body runs once per task where its batch normalisation needs the task's own statistics, or its dropout the
    task's own seed, and otherwise once.

    Args:
        body: images -> features.
        images: [B, n, ...].
        source: where batch normalisation takes its statistics from.
        dtype: of the features.
        seed_of_task: from the number of a task to its seed of dropout, which is on exactly when this is given.
        tasks: numbers of the tasks, int [B].

    Returns:
        Features [B, n, ...], and the statistics used, each [B, channels].
    """

    def embed_task(task: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, Statistics]:
        rows, number = task
        seed = None if seed_of_task is None else seed_of_task(number)
        return embed(body, rows, source, dtype=dtype, dropout_seed=seed)

    normalizes = batch_normalizations(body) and not isinstance(source, Moving)
    if normalizes or (seed_of_task is not None and draws_at_random(body)):
        return over_tasks(embed_task, (images, tasks), mode="unrolled")
    count, rows = length(images, 0), length(images, 1)
    flat = tf.reshape(images, [count * rows, *images.shape[2:]])
    features, _ = embed_task((flat, tf.constant(0)))
    return tf.reshape(features, [count, rows, *features.shape[1:]]), {}


def length(tensor: tf.Tensor, axis: int) -> int | tf.Tensor:
    """Returns the size of an axis, a number where it is known."""
    static = tensor.shape[axis]
    return tf.shape(tensor)[axis] if static is None else static
