"""Options that contradict each other, and how a config is made."""

import dataclasses
import re

import pytest

from anil_tf.config import InputError, Training, input_errors
from anil_tf.config.adaptation import Adaptation
from anil_tf.config.commands import Export, Train
from anil_tf.config.heads import HEADS, names_of
from anil_tf.config.option import options

IMPLICIT = {"differentiation": "implicit", "inner_l2": 1.0}
RIDGE = {"head_initialization": "ridge", "inner_l2": 1.0}
NIL = {"head_initialization": "nil"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"differentiation": "implicit"}, "--differentiation=implicit --inner_l2=0.0.*l2 above 0"),
        (
            IMPLICIT | {"learned_inner_step_size": "scalar"},
            "--learned_inner_step_size=scalar: .*does not depend on the step size",
        ),
        (RIDGE | {"inner_l2": 0}, "--head=ridge --inner_l2=0.0: .*inner_l2 above 0"),
        (RIDGE | {"learned_inner_step_size": "scalar"}, "--head=ridge.*no step size to learn"),
        (RIDGE | {"frozen_in_adaptation": "head"}, "--head=ridge.*free or prototype"),
        (
            {"head_initialization": "zero", "frozen_in_adaptation": "head"},
            "--head=zero --frozen_in_adaptation=head: .*free or prototype",
        ),
        ({"truncated_to": 2}, "--truncated_to=2: .*both or neither"),
        (
            {"differentiation": "truncated"},
            "--differentiation=truncated --truncated_to: .*both or neither",
        ),
        (
            {"first_order": True, "differentiation": "truncated", "truncated_to": 1},
            "--first_order --differentiation=truncated: .*one of the two",
        ),
        ({"first_order": True} | IMPLICIT, "--first_order.*one of the two"),
        ({"training_ways": 4}, "--training_ways=4 --head=free: .*expected the number of ways"),
        (RIDGE | {"inner_steps": "auto"}, "--inner_steps=auto: --head=ridge .*expected a number"),
        (NIL | {"inner_step_size": "auto"}, "--inner_step_size=auto: --head=nil .*closed form"),
        (IMPLICIT | {"inner_step_size": "auto"}, "--inner_step_size=auto: .*goes to the minimum"),
        (
            {"strategy": "multi_worker", "inner_steps": "auto"},
            "--inner_steps=auto: with --strategy=multi_worker .*expected a number",
        ),
        ({"run_dir": ""}, "--run_dir: expected a directory, received none"),
    ],
    ids=str,
)
def test_options_of_a_training_that_contradict_each_other_are_named(given, said):
    with pytest.raises(InputError) as error:
        Train.from_given(**({"run_dir": "run"} | given))
    line = error.value.on_command_line()
    assert re.search(said, line), line
    assert "\n" not in line


def test_statistics_of_the_episode_are_exported_only_by_force():
    given = {"run_dir": "", "normalization": "episode"}
    with pytest.raises(InputError, match="normalization=episode: .*depend on the other images"):
        Export(**(given | {"run_dir": "run", "output_dir": "out"}))
    assert Export(**(given | {"run_dir": "run", "output_dir": "out", "force": True})).force


def test_a_config_is_a_value():
    config = Train.from_given(run_dir="run", ways=3, shots="2")
    assert (config.ways, config.shots, config.queries) == (3, 2, 15)
    assert config.given == {"run_dir", "ways", "shots"}
    assert config == Train(run_dir="run", ways=3, shots=2), "what was given is no part of the value"
    assert dataclasses.replace(config, ways=4).ways == 4
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.ways = 5
    assert config.part(Adaptation) == Adaptation()
    assert config.part(Training).to_dict().items() <= config.to_dict().items()


def test_first_order_says_what_differentiation_says():
    assert Adaptation(first_order=True).engine == "first_order"
    assert Adaptation(differentiation="first_order").engine == "first_order"


def test_errors_of_what_is_built_are_put_down_to_options():
    config = Train(run_dir="run")
    with pytest.raises(InputError) as error, input_errors(config, "ways"):
        raise ValueError("too\nmany")
    assert error.value.on_command_line() == "--ways=5: too many"
    with pytest.raises(InputError) as error, input_errors(config, "ways"):
        raise ValueError("--ways=5 are too many")
    assert error.value.on_command_line() == "--ways=5 are too many", "named already"
    with pytest.raises(KeyError), input_errors(config, "ways"):
        raise KeyError("not about input")


def test_the_record_of_a_head_agrees_with_its_options():
    assert tuple(HEADS) == options(Adaptation)["head_initialization"].choices
    assert names_of(has_inner_loop=False) == "ridge or nil"
    assert names_of(any_number_of_ways=False) == "free"
