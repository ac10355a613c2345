"""P1 and P2's runner: closed forms, and bounds that would fail if they were cut by a quarter."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from anil_tf.study.measurements import contraction
from anil_tf.study.measurements.frozen_point import FrozenPoint, frozen_point
from tests.learners import precision
from tests.study.measurements.settings import SETTINGS

WIDTH, WAYS, ROWS = 4, 3, 6


def point_on_features(support, queries, l2):
    """A point whose body passes its input on: features are given."""
    with precision("float64"):
        inputs, features = (keras.Input([WIDTH], dtype="float64") for _ in range(2))
        body = keras.Model(inputs, keras.layers.Identity()(inputs))
        head = keras.Model(features, keras.layers.Dense(WAYS, use_bias=False)(features))
    labels = np.tile(np.arange(ROWS) % WAYS, [len(support), 1]).astype("int32")
    given = {"support_images": support, "query_images": queries, "support_labels": labels}
    return FrozenPoint(
        body,
        head,
        {name: tf.constant(value) for name, value in given.items()},
        tf.constant(labels),
        l2,
    )


def test_without_evidence_the_gradient_shrinks_by_q_in_each_step():
    queries = np.random.default_rng(0).normal(size=[2, ROWS, WIDTH])
    point = point_on_features(np.zeros_like(queries), queries, l2=0.5)
    start = point.start[0].numpy()
    q, steps = 1 - 0.3 * 0.5, 7
    adapted = q**steps * start  # nothing but lambda pulls
    logits = queries @ adapted
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    errors = (shares - np.eye(WAYS)[point.query_labels.numpy()]) / ROWS
    by_head = np.swapaxes(queries, 1, 2) @ errors
    expected = q**steps * np.sqrt((by_head**2).sum(axis=(1, 2))).max()
    measured = contraction.head_gradient(
        point, tf.zeros_like(queries), tf.constant(queries), 0.3, steps
    )
    np.testing.assert_allclose(measured, expected, rtol=1e-12)


@pytest.mark.parametrize("kind", contraction.STARTS)
def test_other_starts_are_a_unit_away(kind):
    features = tf.constant(np.random.default_rng(1).normal(size=[2, ROWS, WIDTH]))
    start = [tf.zeros([2, WIDTH, WAYS], tf.float64), tf.zeros([2, WAYS], tf.float64)]
    change = contraction.other_start(kind, start, features, seed=0)
    squares = [np.square(part).reshape(2, -1).sum(axis=1) for part in change]
    np.testing.assert_allclose(sum(squares), [1, 1], rtol=1e-12)
    outputs = features @ change[0] + change[1][:, None]
    if kind == "common":  # what softmax cancels
        np.testing.assert_allclose(outputs - outputs[..., :1], 0, atol=1e-12)
    if kind == "seen":  # what the support sees, and nothing that softmax cancels
        np.testing.assert_allclose(np.sum(change[0], axis=-1), 0, atol=1e-12)


def test_another_kind_of_start_is_refused():
    with pytest.raises(ValueError, match="start must be one of random"):
        contraction.other_start("far", [tf.zeros([1, 2, 2])], tf.zeros([1, 2, 2]), seed=0)


@pytest.fixture(scope="module")
def rows():
    return contraction.run(SETTINGS | {"most_inner_steps": 8})


def test_rows_stay_within_bounds_that_a_quarter_less_would_break(rows):
    assert [row["inner_steps"] for row in rows if row["prediction"] == "P2"] == [1, 2, 4, 8]
    ratios = {}
    for row in rows:
        ratio = row["measured"] / row["bound"]
        assert ratio <= 1 + 1e-9
        key = row["prediction"], row.get("start")
        ratios[key] = max(ratio, ratios.get(key, 0))
    assert ratios["P1", "common"] == pytest.approx(1, abs=1e-9)
    assert ratios["P1", "seen"] < 0.999


def test_step_size_is_one_over_the_closed_form(rows):
    point = frozen_point(SETTINGS)
    largest = 0.0
    for features in point.features():
        for task in features.numpy():
            with_ones = np.concatenate([task, np.ones([len(task), 1])], axis=1)
            value = np.linalg.norm(with_ones, 2) ** 2 / len(task) / 2
            largest = max(largest, value)
    smoothness = rows[0]["smoothness"]
    assert largest <= smoothness <= largest + SETTINGS["inner_l2"] + 1e-9
    assert rows[0]["alpha"] == pytest.approx(1 / smoothness)
    assert rows[0]["contraction"] == pytest.approx(1 - SETTINGS["inner_l2"] / smoothness)
