"""The moving average of weights."""

import numpy as np

from anil_tf.training.averaging import WeightAverage
from tests.training.small_runs import make_learner


def _kernel(learner):
    return learner.trainable_variables[0]


def test_the_average_is_the_weighted_sum_of_the_iterates():
    learner = make_learner()
    average = WeightAverage(learner, 0.5)
    start = _kernel(learner).numpy()
    expected = start
    for step in range(1, 15):
        _kernel(learner).assign(start * (1 + step))
        average.on_train_batch_end(step)
        momentum = min(0.5, (1 + step) / (10 + step))
        expected = momentum * expected + (1 - momentum) * start * (1 + step)
        np.testing.assert_allclose(average.variables[0].numpy(), expected, rtol=1e-5)


def test_validation_sees_the_averages_and_training_does_not():
    learner = make_learner()
    average = WeightAverage(learner, 0.9)
    start = _kernel(learner).numpy()
    _kernel(learner).assign(start + 1)
    average.on_test_begin()
    np.testing.assert_array_equal(_kernel(learner).numpy(), start)
    average.on_test_end()
    np.testing.assert_array_equal(_kernel(learner).numpy(), start + 1)


def test_substituted_replaces_weights_and_nothing_else():
    learner = make_learner()
    average = WeightAverage(learner, 0.9)
    replaced = average.substituted(learner.variables)
    assert len(replaced) == len(learner.variables)
    assert [tuple(v.shape) for v in replaced] == [tuple(v.shape) for v in learner.variables]
    floating = [v for v in learner.variables if v.value.dtype.is_floating]
    assert sum(any(r is a for a in average.variables) for r in replaced) == len(floating)
