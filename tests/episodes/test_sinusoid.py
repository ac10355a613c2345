"""Sinusoid regression tasks."""

import numpy as np
import tensorflow as tf

from anil_tf.episodes import load

SETTINGS = dict(ways=5, shots=6, queries=40, meta_batch_size=200, seed=0)


def fit(points, values):
    """Amplitude and phase of the curve through the points, by linear least squares."""
    basis = np.stack([np.sin(points), -np.cos(points)], axis=1)
    cosine, sine = np.linalg.lstsq(basis, values, rcond=None)[0]
    return np.hypot(cosine, sine), np.arctan2(sine, cosine)


def test_support_and_query_lie_on_one_curve_of_the_family():
    tasks = load("sinusoid", split="train", **SETTINGS)
    inputs, values = tasks.batch(0)
    assert inputs["support_images"].shape == inputs["support_labels"].shape == (200, 6, 1)
    assert inputs["query_images"].shape == values.shape == (200, 40, 1)
    assert values.dtype == inputs["support_labels"].dtype == tf.float32
    points = np.concatenate([inputs["support_images"], inputs["query_images"]], 1)[..., 0]
    labels = np.concatenate([inputs["support_labels"], values], 1)[..., 0]
    assert np.abs(points).max() <= 5
    curves = np.array([fit(*curve) for curve in zip(points, labels, strict=True)])
    amplitudes, phases = curves.T
    residuals = labels - amplitudes[:, None] * np.sin(points - phases[:, None])
    assert np.abs(residuals).max() < 1e-4
    assert 0.1 <= amplitudes.min() < 0.4
    assert 4.7 < amplitudes.max() <= 5
    assert -1e-4 <= phases.min() < 0.2
    assert np.pi - 0.2 < phases.max() <= np.pi + 1e-4


def test_it_has_the_interface_of_tasks():
    tasks = load("sinusoid", split="train", **SETTINGS).from_step(3).replace(meta_batch_size=2)
    assert tasks.regression
    assert tasks.ways == 1
    assert tasks.image_shape == (1,)
    assert tasks.class_names == ()
    element = next(iter(tasks.as_dataset()))
    tf.nest.map_structure(np.testing.assert_array_equal, element, tasks.batch(3))
    other = load("sinusoid", split="test", **SETTINGS).replace(meta_batch_size=2)
    assert np.any(other.batch(3)[1] != element[1])
