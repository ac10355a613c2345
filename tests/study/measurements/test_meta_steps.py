"""P5 and P7's runner: the losses of a descent that is done again by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf

from anil_tf.study.measurements import meta_steps
from anil_tf.study.measurements.constants import head_constants
from anil_tf.study.measurements.frozen_point import frozen_point
from tests.study.measurements.settings import SETTINGS

DESCENT = SETTINGS | {
    "prediction": "P5",
    "inner_steps": 2,
    "step": 0.5,
    "schedule": "falling",
    "reference_l2": 0.5,
    "outer_step_size": 1.0,
    "meta_steps": 2,
    "checkpoints": 3,
}


def test_descent_by_hand():
    rows = meta_steps.run(DESCENT)
    point = frozen_point(DESCENT, dtype="float32")
    alpha = 0.5 / head_constants(point).smoothness / 2
    learner = point.learner(inner_steps=2, inner_step_size=alpha)
    losses = []
    for _ in range(3):
        with tf.GradientTape() as tape:
            logits = learner(point.inputs)
            loss = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(point.query_labels, logits)
            )
        losses.append(float(loss))
        variables = learner.trainable_variables
        for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
            variable.assign_sub(1.0 * gradient)
    curve = {row["meta_step"]: row["loss"] for row in rows if row["record"] == "curve"}
    measured = [curve[step] for step in sorted(curve)]
    np.testing.assert_allclose(measured, [losses[step] for step in sorted(curve)], rtol=1e-4)
    assert rows[0]["alpha"] == pytest.approx(alpha)
    assert rows[0]["contraction_power"] == pytest.approx((1 - alpha * 0.5) ** 2)
    assert [row["share"] for row in rows if row["record"] == "reach"] == list(meta_steps.SHARES)


def test_all_heads_have_one_alpha():
    linear = DESCENT | {"inner_l2": 0.05, "reference_l2": 0.05, "meta_steps": 1, "checkpoints": 2}
    nonconvex = linear | {"prediction": "P7", "head": "two_layer", "inner_l2": 0.0}

    first, second = (meta_steps.run(settings)[0]["alpha"] for settings in (linear, nonconvex))

    assert first == pytest.approx(second, rel=1e-6)
    assert first != pytest.approx(meta_steps.run(linear | {"reference_l2": 5.0})[0]["alpha"])


def test_shares_of_chance():
    assert meta_steps.SHARES[:3] == (0.98, 0.96, 0.94) and meta_steps.SHARES[-1] == 0.02


def test_first_below():
    assert meta_steps.first_below([3.0, 2.0, 1.0, 2.0], 2.0) == 1
    assert meta_steps.first_below([3.0, math.nan, 1.0], 1.5) == 2
    assert math.isnan(meta_steps.first_below([3.0, 2.0], 1.0))
