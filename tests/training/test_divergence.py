"""Runs whose numbers are no longer finite are stopped, with a line that helps."""

import math

import numpy as np
import pytest

from anil_tf.training import Diverged, divergence
from tests.training.small_runs import make_learner


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_the_message_says_where_why_and_what_is_left(value):
    with pytest.raises(Diverged) as caught:
        divergence.check(
            {"loss": value}, meta_step=17, inner_step_size=3.5, last_checkpoint="runs/a/state-10"
        )
    for expected in ("loss", "meta-step 17", "--inner_step_size=3.5", "runs/a/state-10"):
        assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_finite_values_pass():
    divergence.check({"loss": 1e30, "validation loss": -3.0}, meta_step=1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("position", [0, -1])
def test_one_bad_weight_is_found(value, position):
    learner = make_learner(learned_inner_step_size="scalar")  # a variable without dimensions too
    variables = learner.trainable_variables
    assert divergence.first_spoiled(variables) is None
    assert divergence.first_spoiled([]) is None
    weights = np.array(variables[position].numpy())
    weights.flat[-1] = value
    variables[position].assign(weights)
    path, found = divergence.first_spoiled(variables)
    assert path == variables[position].path
    np.testing.assert_equal(found, value)
