"""Advice on problems whose curvature is known, where what it promises can be checked."""

import types

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf

from anil_tf.adaptation import unrolled
from anil_tf.theory import advice
from tests.adaptation.problems import normal, two_layer_head

CURVATURE = st.floats(1e-3, 1e3)


class Quadratic:
    """L(w) = sum_k h_k w_k^2 / 2 for each task, with curvatures h [B, P]."""

    def __init__(self, curvatures):
        self.curvatures = tf.constant(curvatures, tf.float64)

    def gradient(self, adapted, shared, step):
        return [self.curvatures * adapted[0]]

    def products(self, adapted, shared, step, vector):
        return [self.curvatures * vector[0]], []

    def loss(self, point):
        return 0.5 * np.sum(self.curvatures * point**2, axis=1)


def posed(curvatures, start=None):
    problem = Quadratic(curvatures)
    start = tf.ones_like(problem.curvatures) if start is None else start
    return types.SimpleNamespace(problem=problem, start=[start], shared=[])


def advise(tasks, **given):
    return advice.advise(advice.measure(tasks, **given), **given)


def losses(posed, step_size, steps):
    """The support loss at w_0 .. w_N, [N + 1, B]."""
    ends = [
        unrolled.gradient_descent(
            posed.problem, posed.start, [], steps=m, step_sizes=[step_size], differentiated_steps=m
        )[0].numpy()
        for m in range(steps + 1)
    ]
    return np.array([posed.problem.loss(point) for point in ends])


@hypothesis.given(st.lists(CURVATURE, min_size=1, max_size=8))
def test_the_step_size_is_stable_for_all_tasks_and_near_one_over_l(smoothness):
    alpha = advice.advised_step_size(np.array(smoothness))
    assert 0.95 <= alpha * max(smoothness) <= 1.05, "to two digits, and far below 2"
    assert float(f"{alpha:.2g}") == alpha


@hypothesis.settings(max_examples=10)
@hypothesis.given(st.lists(CURVATURE, min_size=2, max_size=5), st.sampled_from([0.05, 0.2]))
def test_the_steps_end_where_a_further_one_adds_less_than_the_share(curvatures, share):
    alpha = advice.advised_step_size(np.array(curvatures))
    problem = posed([curvatures])
    path = losses(problem, alpha, advice.most_steps(share) + 1)
    falls = path[:-1] - path[1:]
    steps = advice.advised_steps(falls, share)
    assert 1 <= steps <= advice.most_steps(share), "falls do not grow, so no more than 1/share"
    fallen = path[0] - path
    assert falls[steps] <= share * fallen[steps] * (1 + 1e-9)
    for fewer in range(1, steps):
        assert falls[fewer] >= share * fallen[fewer] * (1 - 1e-9)


@hypothesis.settings(max_examples=8)
@hypothesis.given(st.lists(CURVATURE, min_size=1, max_size=4), st.floats(0.01, 3.0))
def test_falls_are_those_of_the_loss(curvatures, times):
    """From gradients alone; also where the step size is above 2/L and the loss rises."""
    problem = posed([curvatures, curvatures[::-1]], normal(1, 2, len(curvatures)))
    alpha = times / max(curvatures)
    path = losses(problem, alpha, 4)
    falls = advice.support_falls(problem, steps=4, step_size=alpha)
    np.testing.assert_allclose(falls, path[:-1] - path[1:], rtol=1e-9, atol=1e-9 * path.max())


def test_advice_on_quadratics_of_known_curvature():
    """The largest curvature of all tasks decides; what it says of it is what was measured."""
    tasks = [posed([[1.0, 4.0], [2.0, 7.0]]), posed([[0.5, 5.0]])]
    advised = advise(tasks)
    assert advised.step_size == 0.14, "1/7"
    most = advice.most_steps(advice.CHEAP)
    falls = np.concatenate([losses(each, 0.14, most) for each in tasks], axis=1)
    falls = falls[:-1] - falls[1:]
    assert advised.steps == advice.advised_steps(falls, advice.CHEAP)
    for words in ("inner_step_size=0.14 is 1/L", "L = 7 ", "3 training tasks", "median 5,"):
        assert words in advised.reason
    assert f"inner_steps={advised.steps}: " in advised.reason and "1 %" in advised.reason


def test_one_curvature_takes_one_step_and_a_wide_spectrum_takes_many():
    assert advise([posed([[2.0, 2.0]])]).steps == 1, "1/L is the minimum itself"
    slow = advise([posed([[1.0, 1e-6]], tf.constant([[0.0, 1.0]], tf.float64))])
    assert slow.steps == 100, "each step adds as much as the one before: the bound"
    assert "the most steps" in slow.reason


def test_what_is_given_is_left_as_it_is():
    tasks = [posed([[1.0, 4.0]])]
    only_steps = advise(tasks, step_size=0.01)
    assert only_steps.step_size == 0.01 and "inner_step_size" not in only_steps.reason
    assert only_steps.steps > advise(tasks).steps, "smaller steps, more of them"
    only_size = advise(tasks, steps=3)
    assert (only_size.step_size, only_size.steps) == (0.25, 3)
    assert "inner_steps" not in only_size.reason
    assert advise(tasks, steps=0).step_size == 0.25, "measured at the start alone"


def test_a_step_size_that_raises_the_loss_gets_one_step_and_is_told():
    advised = advise([posed([[1.0, 4.0]])], step_size=0.8)
    assert advised.steps == 1
    assert "does not fall" in advised.reason


def test_curvature_that_grows_on_the_way_lowers_the_step_size():
    """A loss that is flat where it begins: the trial step is found too long, and the advice is not."""

    class Steeper(Quadratic):
        def gradient(self, adapted, shared, step):
            (w,) = adapted
            return [tf.where(w > 0.5, 1.0 * w, 4.0 * w)]

        def products(self, adapted, shared, step, vector):
            (w,) = adapted
            return [tf.where(w > 0.5, vector[0], 4.0 * vector[0])], []

    start = [tf.ones([1, 1], tf.float64)]
    problem = types.SimpleNamespace(problem=Steeper([[1.0]]), start=start, shared=[])
    assert advise([problem]).step_size == 0.25


def test_dear_steps_are_fewer():
    measurement = advice.measure([posed([np.geomspace(1e-3, 1.0, 30)])])
    cheap, dear = (advice.advise(measurement, share=s).steps for s in (advice.CHEAP, advice.DEAR))
    assert dear < cheap and dear <= 5


def test_a_nonconvex_head_is_advised_too():
    problem, start, shared = two_layer_head()
    task = types.SimpleNamespace(problem=problem, start=start, shared=shared)
    measurement = advice.measure([task], share=advice.DEAR)
    advised = advice.advise(measurement, share=advice.DEAR)
    assert 1 <= advised.steps <= 5
    assert advised.step_size * measurement.landscape.smoothness_head.max() <= 1.05
    assert (measurement.falls > 0).all(), "each step lowers the loss of each task"


@pytest.mark.parametrize("smoothness", [[0.0, 0.0], [np.nan], [1.0, np.inf]])
def test_no_curvature_gives_no_advice(smoothness):
    with pytest.raises(ValueError, match="expected a number above 0"):
        advice.advised_step_size(np.array(smoothness))
