import dataclasses

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from anil_tf.evaluation import Evaluation, compare, evaluate
from anil_tf.evaluation.accuracy import half_width

SAMPLES = hnp.arrays(
    np.float64, st.integers(2, 60), elements=st.floats(0, 1, allow_subnormal=False)
)


def evaluation(per_episode, drawn_from="the same"):
    return Evaluation(np.asarray(per_episode), np.zeros(len(per_episode)), 0.0, 0.0, drawn_from)


def by_hand(learner, tasks, episodes):
    """Accuracy and cross-entropy of every episode, one query at a time."""
    accuracies, losses, step = [], [], 0
    while len(accuracies) < episodes:
        inputs, labels = tasks.batch(step)
        for logits, truth in zip(learner(inputs).numpy(), labels.numpy(), strict=True):
            right, loss = 0, 0.0
            for row, label in zip(logits.astype(np.float64), truth, strict=True):
                right += int(np.argmax(row) == label)
                loss -= np.log(np.exp(row[label]) / np.exp(row).sum())
            accuracies.append(right / len(truth))
            losses.append(loss / len(truth))
        step += 1
    return np.array(accuracies[:episodes]), np.array(losses[:episodes])


@pytest.mark.parametrize("episodes", [1, 7])
def test_equals_a_plain_loop_over_exactly_the_episodes_asked_for(
    nearest_mean, image_tasks, episodes
):
    tasks = image_tasks()
    found = evaluate(nearest_mean(3), tasks, episodes=episodes, progress=False)
    accuracy, loss = by_hand(nearest_mean(3), tasks, episodes)
    assert found.episodes == episodes
    np.testing.assert_allclose(found.per_episode_accuracy, accuracy)
    np.testing.assert_allclose(found.per_episode_loss, loss, rtol=1e-5)
    assert found.accuracy == pytest.approx(accuracy.mean())
    assert 0 < found.accuracy < 1 and 0 < found.ece < 1 and found.seconds > 0


def test_same_seed_same_episodes_in_one_tracing_and_another_seed_others(nearest_mean, image_tasks):
    learner = nearest_mean(3)

    def run(seed):
        return evaluate(learner, image_tasks(seed=seed), episodes=8, progress=False)

    first = run(3)
    assert learner.calls == 1, "one tracing serves both batches"
    np.testing.assert_array_equal(first.per_episode_loss, run(3).per_episode_loss)
    other = run(4)
    assert np.abs(first.per_episode_loss - other.per_episode_loss).max() > 1e-3
    with pytest.raises(ValueError, match="same episodes.*seed 3.*seed 4"):
        compare(first, other)


def test_regression_reports_the_mean_squared_error(line, sine_tasks):
    found = evaluate(line, sine_tasks, episodes=6, progress=False)
    expected = []
    for step in range(2):
        inputs, values = sine_tasks.batch(step)
        means = inputs["support_labels"].numpy().mean(axis=1, keepdims=True)
        expected += list(((values.numpy() - means) ** 2).mean(axis=(1, 2)))
    assert found.regression and found.metric == "mse" and found.ece is None
    np.testing.assert_allclose(found.per_episode_loss, expected[:6], rtol=1e-4)
    assert found.mse == found.value == found.loss
    assert np.isnan(found.accuracy)


def test_predictions_that_are_not_finite_are_refused(nearest_mean, image_tasks):
    with pytest.raises(FloatingPointError, match="episode 0 are not finite.*step size"):
        evaluate(nearest_mean(3, noise=0.0), image_tasks(), episodes=2, progress=False)


def test_no_episodes_are_refused_and_one_has_no_interval(nearest_mean, image_tasks):
    with pytest.raises(ValueError, match="at least 1, received 0"):
        evaluate(nearest_mean(3), image_tasks(), episodes=0)
    assert np.isnan(evaluation([0.5]).ci95)


@given(SAMPLES)
def test_the_interval_is_the_normal_one_of_scipy(samples):
    low, high = scipy.stats.norm.interval(0.95, samples.mean(), scipy.stats.sem(samples) + 1e-300)
    assert half_width(samples) == pytest.approx((high - low) / 2, rel=1e-4, abs=1e-9)


@given(SAMPLES, st.integers(0, 2**32 - 1))
def test_compare_is_the_paired_t_interval(first, seed):
    second = np.random.default_rng(seed).uniform(size=len(first))
    found = compare(evaluation(first), evaluation(second))
    expected = scipy.stats.ttest_rel(first, second).confidence_interval(0.95)
    np.testing.assert_allclose(found.difference, (first - second).mean(), atol=1e-12)
    np.testing.assert_allclose(found.difference - found.ci95, expected.low, atol=1e-9)
    np.testing.assert_allclose(found.difference + found.ci95, expected.high, atol=1e-9)
    assert found.distinguishable == (expected.low > 0 or expected.high < 0)


def test_different_numbers_of_episodes_are_not_compared():
    with pytest.raises(ValueError, match="2 episodes of the same and 3 of the same"):
        compare(evaluation([0, 1]), evaluation([0, 1, 1]))


def test_an_evaluation_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        evaluation([0.5, 0.5]).ece = 0.0
