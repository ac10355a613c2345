"""The meta-gradient of a learner at the parameters that it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras
import tensorflow as tf

from anil_tf import MetaLearner
from anil_tf.adaptation.losses import LOSSES

Blocks = Mapping[str, Sequence[keras.Variable]]


def blocks_of(learner: MetaLearner) -> Blocks:
    """The variables of "head" and "body"; MAML, whose body is empty, has the head only."""
    blocks = {"head": learner.head_variables, "body": learner.body_variables}
    return {name: variables for name, variables in blocks.items() if variables}


def meta_gradient(
    learner: MetaLearner,
    inputs: dict[str, tf.Tensor],
    labels: tf.Tensor,
    blocks: Blocks,
    *,
    training: bool = False,
) -> dict[str, tf.Tensor]:
    """The gradient of the mean query loss of B tasks.

    Args:
        learner: at the parameters where it is to be taken, none of which changes.
        inputs: of the learner, B tasks.
        labels: of the queries, [B, n_q].
        blocks: variables to differentiate by.
        training: whether it is the gradient that training follows (dropout is on).

    Returns:
        For each block a vector of all its entries.
    """
    variables = {name: [v.value for v in parts] for name, parts in blocks.items()}
    with tf.GradientTape() as tape:
        loss = LOSSES["cross_entropy"](learner(inputs, training=training), labels)
    found = tape.gradient(loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return {
        name: tf.concat([tf.reshape(part, [-1]) for part in parts], axis=0)
        for name, parts in found.items()
    }
