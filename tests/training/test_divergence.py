"""Runs whose numbers are no longer finite are stopped, with a line that helps."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from anil_tf.training import Diverged
from anil_tf.training.divergence import DivergenceGuard, first_not_finite
from tests.training.small_runs import make_learner

GUARD = DivergenceGuard(SimpleNamespace(meta_step=16, latest="runs/a/state-10"), 3.5)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_the_message_says_where_why_and_what_is_left(value):
    with pytest.raises(Diverged) as caught:
        GUARD.on_train_batch_end(0, {"loss": value})
    for expected in ("loss", "meta-step 17", "--inner_step_size=3.5", "runs/a/state-10"):
        assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    GUARD.on_train_batch_end(0, {"loss": 1e30})


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("position", [0, -1])
def test_one_bad_weight_is_found(value, position):
    learner = make_learner(learned_inner_step_size="scalar")  # a variable without dimensions too
    variables = learner.trainable_variables
    assert first_not_finite(variables) is None
    assert first_not_finite([]) is None
    weights = np.array(variables[position].numpy())
    weights.flat[-1] = value
    variables[position].assign(weights)
    path, found = first_not_finite(variables)
    assert path == variables[position].path
    np.testing.assert_equal(found, value)
