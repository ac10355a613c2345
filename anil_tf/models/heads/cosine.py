"""NIL: class means in place of a last layer, compared by cosine (Raghu et al. 2019, arXiv:1909.09157)."""

import tensorflow as tf

from anil_tf.models.heads.from_examples import HeadFromExamples, Linear, class_means

# Orders nothing anew, and makes probabilities of cosines.
_SHARPNESS = 10.0


class CosineHead(HeadFromExamples):
    """Names an image after the class mean of the smallest angle; NIL stands for "no inner loop"."""

    def last_layer(self, hidden: tf.Tensor, labels: tf.Tensor, ways: int | tf.Tensor) -> Linear:
        """See `HeadFromExamples`."""
        return class_means(hidden, labels, ways)

    def logits(self, hidden: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
        """See `HeadFromExamples`; 10 times the cosine."""
        cosines = tf.matmul(tf.math.l2_normalize(hidden, -1), tf.math.l2_normalize(kernel, 0))
        return _SHARPNESS * cosines + bias
