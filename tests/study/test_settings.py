"""A cell's settings as a training."""

import pytest

from anil_tf.study.settings import step_size_rule, training_config

SETTINGS = {"ways": 3, "outer_step_size": 0.01, "inner_step_size": 0.2, "schedule": "falling"}


def test_names_of_settings_that_a_config_has_otherwise_are_translated():
    config = training_config(SETTINGS, adapted_layers="all")
    assert (config.ways, config.inner_step_size, config.adapted_layers) == (3, 0.2, "all")
    assert config.outer_step_size_body == config.outer_step_size_head == 0.01
    assert config.schedule == "constant", "a measurement's schedule is of the inner step size"


def test_a_step_size_by_a_rule_is_left_to_be_measured():
    by_rule = SETTINGS | {"inner_step_size": "1/L"}
    assert (step_size_rule(by_rule), step_size_rule(SETTINGS)) == ("1/L", None)
    assert training_config(by_rule).inner_step_size == training_config({}).inner_step_size
    for unknown in ("1/mu", "auto"):
        with pytest.raises(ValueError, match="must be a number, 1/L or mu/L"):
            training_config(SETTINGS | {"inner_step_size": unknown})
