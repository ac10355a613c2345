"""A head whose last layer starts at the class means, at a learned scale.

With m_c the mean of class c (Snell et al. 2017, arXiv:1703.05175; Triantafillou et al. 2020, arXiv:1903.03096),

    -s/2 |h - m_c|^2  =  s <h, m_c> - s/2 |m_c|^2 - s/2 |h|^2

and softmax cancels the last term, which all classes share.
"""

import keras
import tensorflow as tf

from anil_tf.models.heads.base import MakeScalar
from anil_tf.models.heads.from_examples import HeadFromExamples, Linear, class_means


class PrototypeHead(HeadFromExamples):
    """It starts as the classifier by distance to the class means."""

    def __init__(self, model: keras.Model, make_scalar: MakeScalar, *, l2: float = 0.0):
        """See `Head`."""
        super().__init__(model, make_scalar, l2=l2)
        # Squared distances grow with the width of the features; this start keeps the first logits near 1.
        self._scale = make_scalar("prototype_scale", self.width**-0.5)

    def last_layer(self, hidden: tf.Tensor, labels: tf.Tensor, ways: int | tf.Tensor) -> Linear:
        """See `HeadFromExamples`."""
        means, _ = class_means(hidden, labels, ways)
        scale = tf.cast(self._scale, hidden.dtype)
        # keepdims: under vectorized_map the gradient of a sum without it has shapes that XLA finds only by the values
        # of the arguments, so that it would compile anew for every batch.
        squares = tf.reduce_sum(tf.square(means), axis=0, keepdims=True)[0]
        return scale * means, -0.5 * scale * squares
