"""A Keras model as a pure function of its variables, its statistics and a seed."""

import keras
import tensorflow as tf

from anil_tf.models import normalization


def pure_call(
    model: keras.Model,
    variables: list[tf.Tensor] | None,
    inputs: tf.Tensor,
    *,
    statistics: normalization.Source,
    dropout_seed: tf.Tensor | None = None,
) -> tuple[tf.Tensor, normalization.Statistics]:
    """Calls `model` with the given trainable variables and changes nothing.

    Args:
        model: a built Keras model.
        variables: tensors in place of `model.trainable_variables`, in their order; None for the variables themselves.
        inputs: a batch, [rows, ...].
        statistics: where batch normalisation takes mean and variance from.
        dropout_seed: int [2]; dropout is on exactly when a seed is given, and each layer folds its own index in.

    Returns:
        The outputs [rows, ...] and the statistics of batch normalisation that were used.
    """
    trainable = model.trainable_variables if variables is None else variables
    fixed: list = [
        _frozen(variable) if dropout_seed is None else _seeded(variable, index, dropout_seed)
        for index, variable in enumerate(model.non_trainable_variables)
    ]
    with normalization.task_statistics(model, statistics) as used:
        outputs, _ = model.stateless_call(
            trainable, fixed, inputs, training=dropout_seed is not None
        )
    return outputs, used


def _frozen(variable: keras.Variable):
    """A variable that is not to be differentiated by.

    TensorFlow's tapes watch the variables of a frozen Keras layer all the same, which custom gradients refuse; reading
    them past the tapes leaves them out.
    """
    value = variable.value
    if not getattr(value, "trainable", False):
        return variable
    return tf.raw_ops.ReadVariableOp(resource=value.handle, dtype=value.dtype)


def _seeded(variable: keras.Variable, index: int, seed: tf.Tensor):
    """Replaces the state of a random layer by (seed, index of the layer); leaves other variables alone."""
    if not variable.name.endswith("seed_generator_state"):
        return _frozen(variable)
    folded = tf.random.experimental.stateless_fold_in(tf.cast(seed, tf.int32), index)
    return tf.bitcast(folded, tf.uint32)
