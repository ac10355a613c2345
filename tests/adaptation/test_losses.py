"""Losses of the inner problem, against numpy."""

import numpy as np
import pytest
import tensorflow as tf

from anil_tf.adaptation.losses import cross_entropy, half_squared_norm, squared_error


def test_losses_are_means_over_rows():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=[7, 3]), rng.integers(0, 3, size=7)
    log_sum = np.log(np.exp(logits).sum(1))
    expected = np.mean(log_sum - logits[np.arange(7), labels])
    np.testing.assert_allclose(cross_entropy(tf.constant(logits), labels), expected, rtol=1e-12)
    targets = rng.normal(size=[7, 3])
    np.testing.assert_allclose(
        squared_error(tf.constant(logits), targets), np.mean((logits - targets) ** 2), rtol=1e-12
    )


def test_half_squared_norm_is_squared_and_halved():
    value = half_squared_norm([tf.constant([3.0, 4.0]), tf.constant([[2.0]])])
    assert float(value) == pytest.approx(0.5 * (9 + 16 + 4))
