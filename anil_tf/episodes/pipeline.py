"""How tf.data runs what this package draws and decodes: with fixed sizes, and without its tuner.

The tuner of tf.data (TensorFlow 2.21) looks at a pipeline after 10 ms, 20 ms, 40 ms and so on, up to a minute, and an
iterator that is no longer wanted is not gone before the next look: what has run for 35 s ends after 41 s. The sizes
that it would choose are known here; drawing a meta-batch takes a fraction of a meta-step.
"""

from __future__ import annotations

import os

import tensorflow as tf

PARALLEL_CALLS = min(8, os.cpu_count() or 1)
PREFETCHED = 2


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The same elements, and no wait at the end; what is made of the returned data set is untuned as well.

    The parallel calls and prefetched elements of `dataset` have to be numbers, not `tf.data.AUTOTUNE`.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
