"""Seeds of dropout: a function of (seed, step, task); the inner step and the layer are folded in further down."""

from typing import Any

import tensorflow as tf


def dropout_seed(learner: Any, task: int | tf.Tensor) -> tf.Tensor:
    """Returns the seed of one task in training, int32 [2]."""
    optimizer = getattr(learner, "optimizer", None)  # Keras sets it in compile only
    step = tf.cast(optimizer.iterations, tf.int32) if optimizer else 0
    seed = tf.stack([tf.constant(learner.seed), step])
    return tf.random.experimental.stateless_fold_in(seed, task)


def dropout_seeds(learner: Any, count: int | tf.Tensor) -> tf.Tensor:
    """Returns the seeds of all tasks of this replica in training, int32 [count, 2]."""
    return tf.map_fn(
        lambda task: dropout_seed(learner, task),
        task_numbers(count),
        fn_output_signature=tf.TensorSpec([2], tf.int32),
    )


def task_numbers(count: int | tf.Tensor) -> tf.Tensor:
    """Returns the numbers of this replica's tasks within the meta-batch, int32 [count]."""
    replica = tf.distribute.get_replica_context()
    first = 0 if replica is None else replica.replica_id_in_sync_group * count
    return first + tf.range(count)
