"""A head whose last layer starts at zero.

Layers below the last get no gradient at the first inner step, because it reaches them through a weight that is still
zero.
"""

import tensorflow as tf

from anil_tf.models.heads.from_examples import HeadFromExamples, Linear


class ZeroHead(HeadFromExamples):
    """The last layer starts at zero, and learns nothing of its own."""

    def last_layer(self, hidden: tf.Tensor, labels: tf.Tensor, ways: int | tf.Tensor) -> Linear:
        """See `HeadFromExamples`."""
        return tf.zeros([hidden.shape[-1], ways], hidden.dtype), tf.zeros([ways], hidden.dtype)
