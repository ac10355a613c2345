"""Tensors of B tasks as one vector per task, and back."""

import math

import tensorflow as tf

from anil_tf.adaptation.problem import Tensors


def size_of(tensors: Tensors) -> int:
    """Returns P, the numbers per task in tensors [B, ...]."""
    return sum(math.prod(tensor.shape[1:]) for tensor in tensors)


def flatten(tensors: Tensors) -> tf.Tensor:
    """Returns tensors [B, ...] as one, [B, P]."""
    return tf.concat([tf.reshape(tensor, [tensor.shape[0], -1]) for tensor in tensors], axis=1)


def unflatten(vectors: tf.Tensor, like: Tensors) -> Tensors:
    """Returns vectors [B, P] as tensors of the shapes of `like`."""
    parts = tf.split(vectors, [size_of([tensor]) for tensor in like], axis=1)
    return [tf.reshape(part, tensor.shape) for part, tensor in zip(parts, like, strict=True)]
