"""The losses that the theory sees are those that the learner adapts by and is judged by."""

import numpy as np
import pytest
import tensorflow as tf

from anil_tf.adaptation import unrolled
from anil_tf.adaptation.linear_problem import LinearProblem
from anil_tf.adaptation.problem import TapedProblem
from anil_tf.study.learner_losses import pose, task_losses
from anil_tf.theory.landscape import head_landscape
from tests.learners import (
    TASKS,
    WAYS,
    conv_learner,
    loss_of,
    meta_batch,
    precision,
    smooth_learner,
)

FREE, ZERO, PROTOTYPE = ({"head_initialization": name} for name in ("free", "zero", "prototype"))
TWO_LAYERS = {"adapted_layers": 2}
BOIL = {"adapted_layers": "all", "frozen_in_adaptation": "head"}


@pytest.fixture
def float64():
    with precision("float64"):
        yield


@pytest.fixture(scope="module")
def batch():
    return meta_batch((4,), dtype="float64")


def descend(support_loss, head, body, steps, step_size):
    for _ in range(steps):
        with tf.GradientTape() as tape:
            tape.watch(head)
            loss = support_loss(head, body)
        slope = tape.gradient(loss, head, unconnected_gradients="zero")
        head = unrolled.descend(head, slope, [step_size] * len(head))
    return head


def loss_by_hand(learner, inputs, labels):
    """The meta-loss: each task's head descends on its support loss, its query loss is taken, the mean of all."""
    losses = []
    for task in range(TASKS):
        support_loss, query_loss, head, body = task_losses(learner, inputs, labels, task)
        end = descend(support_loss, head, body, learner.inner_steps, learner.inner_step_size)
        losses.append(query_loss(end, body))
    return np.mean(losses)


@pytest.mark.parametrize("options", [FREE, PROTOTYPE, TWO_LAYERS, BOIL], ids=str)
def test_descending_on_the_support_loss_ends_at_the_learners_own_query_loss(
    options, batch, float64
):
    learner = smooth_learner(inner_l2=0.1, **options)
    np.testing.assert_allclose(loss_by_hand(learner, *batch), loss_of(learner, *batch), rtol=1e-10)


@pytest.mark.parametrize(
    ("normalization", "adapted_layers"), [("episode", 1), ("support", 2), ("running", 2)]
)
def test_batch_statistics_are_those_of_evaluation(normalization, adapted_layers):
    learner = conv_learner(adapted_layers, normalization=normalization)
    batch = meta_batch((16, 16, 1))
    np.testing.assert_allclose(loss_by_hand(learner, *batch), loss_of(learner, *batch), rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "differentiation"),
    [(FREE, "unrolled"), (ZERO, "explicit"), (PROTOTYPE, "first_order")],
)
def test_a_linear_head_poses_its_problem_in_closed_form(options, differentiation, batch, float64):
    learner = smooth_learner(inner_l2=0.1, differentiation=differentiation, **options)
    problem, start, shared, _ = pose(learner, batch[0])
    assert isinstance(problem, LinearProblem)
    assert [tuple(part.shape) for part in start] == [(TASKS, 8, WAYS), (TASKS, WAYS)]
    by_head = problem.gradient(start, shared)
    for task in range(TASKS):
        support_loss, _, head, body = task_losses(learner, *batch, task)
        with tf.GradientTape() as tape:
            tape.watch(head)
            loss = support_loss(head, body)
        for one, other in zip(by_head, tape.gradient(loss, head), strict=True):
            np.testing.assert_allclose(one[task], other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("options", [TWO_LAYERS, BOIL], ids=str)
def test_any_other_head_poses_it_by_tapes(options, batch, float64):
    learner = smooth_learner(**options)
    problem, start, shared, _ = pose(learner, batch[0])
    assert isinstance(problem, TapedProblem)
    measured = head_landscape(problem, start, shared, steps=1, step_size=0.1)
    assert measured.smoothness_head.shape == (TASKS,)
    assert np.all(measured.smoothness_head > 0)


@pytest.mark.parametrize("head", ["ridge", "nil"])
def test_a_head_without_an_inner_loop_has_no_inner_problem(head, batch, float64):
    learner = smooth_learner(head_initialization=head, inner_l2=0.1)
    with pytest.raises(ValueError, match="no inner loop, hence no inner problem"):
        pose(learner, batch[0])
