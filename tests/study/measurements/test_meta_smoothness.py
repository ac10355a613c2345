"""P3 and P4's runners: two ways to one meta-gradient, and the cosine in closed form."""

import math

import numpy as np
import pytest

from anil_tf.study.measurements import meta_smoothness
from anil_tf.study.measurements.frozen_point import frozen_point
from tests.study.measurements.settings import SETTINGS


def test_gradient_by_the_learner_and_by_the_head_alone_agree():
    point = frozen_point(SETTINGS)
    learner = point.learner(inner_steps=2, inner_step_size=0.3)
    gradient, at = meta_smoothness.gradient_by_block(learner, point, learner.head_variables)
    other, same = meta_smoothness.gradient_by_head(point, point.features(), 2, 0.3)
    np.testing.assert_allclose(at, same)
    moved = at + np.random.default_rng(0).normal(size=len(at))
    np.testing.assert_allclose(gradient(moved), other(moved), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(gradient(at), other(at), rtol=1e-9, atol=1e-12)  # put back


@pytest.mark.parametrize("alpha", [0.1, 0.5])
def test_one_step_on_the_cosine_in_closed_form(alpha):
    w = np.linspace(-np.pi, np.pi, 201)
    end = w + alpha * np.sin(w)  # the support loss is cos(w), its gradient -sin(w)
    slope, bend = 1 + alpha * np.cos(w), -alpha * np.sin(w)
    expected = np.abs(-np.cos(end) * slope**2 - np.sin(end) * bend).max()
    assert meta_smoothness.cosine_curvature(1, alpha) == pytest.approx(expected, rel=1e-12)


@pytest.mark.slow
def test_the_cosine_grows_as_predicted_and_c_over_n_stops_it():
    rows = meta_smoothness.worst_case({"most_inner_steps": 8, "step": 0.5})
    for row in rows:
        assert row["measured"] <= row["bound"] * (1 + 1e-12)
        # At w = 0 every step stretches by p.
        assert row["measured"] >= row["growth"] ** (2 * row["inner_steps"]) * (1 - 1e-12)
    falling = [row["measured"] for row in rows if row["schedule"] == "falling"]
    assert max(falling) < math.e * falling[0]


@pytest.mark.slow
def test_rows_of_both_geometries_stay_within_their_bounds():
    rows = meta_smoothness.strongly_convex(SETTINGS | {"most_inner_steps": 4})
    assert [(row["block"], row["inner_steps"]) for row in rows] == [
        ("ww", 1),
        ("phiphi", 1),
        ("ww", 4),
        ("phiphi", 4),
    ]
    settings = SETTINGS | {"head": "two_layer", "inner_l2": 0.0}
    rows += meta_smoothness.nonconvex(settings | {"most_inner_steps": 2, "step": 0.5})
    assert all(0 < row["measured"] < row["bound"] for row in rows)
