"""Constants at a frozen point: of the worst task, and on the inner loop that is measured."""

import dataclasses
import math

import numpy as np
import pytest

from anil_tf.study.measurements import constants
from anil_tf.study.measurements.frozen_point import frozen_point
from anil_tf.theory.bounds import Constants
from tests.study.measurements.settings import SETTINGS


def test_the_worst_of_several_holds_for_all():
    one, other = Constants(0.1, 3.0, 2.0, 5.0, 1.0), Constants(0.2, 4.0, 1.0, 6.0, 0.5)
    assert constants.worst([one, other]) == Constants(0.1, 4.0, 2.0, 6.0, 1.0)
    unknown = dataclasses.replace(one, mixed_lipschitz=math.nan)
    assert math.isnan(constants.worst([unknown, other]).mixed_lipschitz)


def test_sampled_constants_of_the_head_are_within_the_closed_forms_and_of_all_tasks():
    point = frozen_point(SETTINGS)
    closed = constants.head_constants(point)
    sampled = constants.sampled_head_constants(point, steps=4, step_size=1 / closed.smoothness)
    assert sampled.mu == SETTINGS["inner_l2"]
    assert sampled.mixed_lipschitz == 0
    for name in ("smoothness", "hessian_lipschitz", "gradient_bound"):
        assert 0 < getattr(sampled, name) <= getattr(closed, name) * (1 + 1e-9)
    last = dataclasses.replace(
        point,
        inputs={name: value[1:] for name, value in point.inputs.items()},
        query_labels=point.query_labels[1:],
    )
    alone = [
        constants.sampled_head_constants(one, steps=4, step_size=1 / closed.smoothness)
        for one in (point.first(1), last)
    ]
    assert sampled == constants.worst(alone)


def test_alpha_is_one_over_l_unless_l_grows_beyond_what_bounds_allow(monkeypatch):
    point, closed = frozen_point(SETTINGS), Constants(0.5, 3.0)

    def alpha(on_the_path):
        met = {0: 4.0} | on_the_path
        seen = []

        def sample(point, *, steps, step_size):
            seen.append((steps, step_size))
            return Constants(0.5, met[0] if steps == 0 else on_the_path[step_size])

        monkeypatch.setattr(constants, "sampled_constants", sample)
        sampled, found = constants.at_inverse_smoothness(point, closed, steps=100)
        assert seen[-1] == (64, found)  # on the very path of the alpha returned
        assert sampled.smoothness == on_the_path[found]
        return found

    assert alpha({1 / 4: 5.0}) == 1 / 4
    assert alpha({1 / 4: 8.0, 1 / 8: 8.0}) == 1 / 8


@pytest.mark.slow
def test_sampled_constants_of_the_body_are_of_all_tasks():
    point = frozen_point(SETTINGS)
    both = constants.sampled_constants(point, steps=1, step_size=0.1)
    one = constants.sampled_constants(point.first(1), steps=1, step_size=0.1)
    assert both.mu == one.mu == SETTINGS["inner_l2"]
    for name in ("smoothness", "hessian_lipschitz", "mixed_lipschitz", "gradient_bound"):
        assert getattr(both, name) >= getattr(one, name) * (1 - 1e-9)
    assert np.isfinite(dataclasses.astuple(both)).all()
