import numpy as np
import pytest

from anil_tf.config import Choices, Range, Tune
from anil_tf.config.errors import InputError
from anil_tf.tuning import search_space

RANGES = {
    "inner_step_size": Range(0.01, 1.0),
    "inner_steps": Range(1, 20),
    "inner_l2": Range(0.0, 0.1),
    "first_order": True,
    "filters": Choices((16, 32, 64)),
}
SPACE = search_space.make(RANGES)
GIVEN = {
    "inner_step_size": 0.1,
    "inner_steps": 5,
    "inner_l2": 0.0,
    "first_order": True,
    "filters": 32,
}


def test_values_are_drawn_from_all_of_the_space_and_from_nowhere_else():
    drawn = [{each.name: each.random_sample(seed) for each in SPACE.space} for seed in range(400)]
    drawn = [search_space.rounded(SPACE, values) for values in drawn]
    assert not any(search_space.outside(SPACE, values) for values in drawn)
    assert {values["filters"] for values in drawn} == {16, 32, 64}
    assert {values["first_order"] for values in drawn} == {False, True}
    assert {values["inner_steps"] for values in drawn} == set(range(1, 21))
    below = np.mean([values["inner_step_size"] < 0.1 for values in drawn])
    assert 0.4 < below < 0.6, "logarithmic: half of the draws lie below the geometric mean"
    assert 0.4 < np.mean([values["inner_l2"] < 0.05 for values in drawn]) < 0.6, "linear from 0"


@pytest.mark.parametrize("value", [0.0123456789, 0.987654321, 0.0333333])
def test_real_values_survive_32_bits(value):
    (rounded,) = search_space.rounded(SPACE, {"inner_step_size": value}).values()
    sent = {"inner_step_size": float(np.float32(rounded))}
    assert search_space.rounded(SPACE, sent) == {"inner_step_size": rounded}
    assert rounded == pytest.approx(value, rel=5e-3)


def test_values_are_of_their_own_types_and_within():
    values = {"inner_steps": 21.0, "inner_step_size": 1.0000001, "filters": 32.0, "first_order": 1}
    rounded = search_space.rounded(SPACE, values)
    assert rounded == {
        "inner_step_size": 1.0,
        "inner_steps": 20,
        "filters": 32,
        "first_order": True,
    }
    assert [type(value) for value in rounded.values()] == [float, int, bool, int]
    assert search_space.rounded(SPACE, {"tuner/epochs": 3}) == {}


@pytest.mark.parametrize(
    ("changed", "outside"),
    [
        ({}, []),
        ({"inner_step_size": 2.0}, ["inner_step_size"]),
        ({"inner_step_size": "auto", "filters": 48}, ["inner_step_size", "filters"]),
        ({"first_order": None}, ["first_order"]),
    ],
)
def test_a_setting_is_in_the_space_or_not(changed, outside):
    assert search_space.outside(SPACE, GIVEN | changed) == outside


def test_probes_are_in_the_space_and_have_every_choice():
    probes = search_space.probes(SPACE, GIVEN | {"inner_step_size": 2.0, "inner_l2": "auto"})
    assert probes[0] == GIVEN | {"inner_step_size": 0.01}, "moved into the space where it was not"
    assert not any(search_space.outside(SPACE, probe) for probe in probes)
    assert {(each["filters"], each["first_order"]) for each in probes} == {
        (32, True),
        (16, True),
        (64, True),
        (32, False),
    }


def test_the_space_is_that_of_the_options():
    options = {f"search_{name}": value for name, value in RANGES.items()}
    config = Tune(output_dir="d", **options)
    assert search_space.from_config(config).get_config() == SPACE.get_config()


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({}, ["inner_step_size", "inner_steps", "outer_step_size_body"]),
        ({"train_body": False}, ["inner_step_size", "inner_steps"]),
        ({"adapted_layers": "all"}, ["inner_step_size", "inner_steps"]),
        ({"head_initialization": "ridge", "inner_l2": 1.0}, ["outer_step_size_body"]),
        ({"search_filters": (4, 8)}, ["filters"]),
    ],
)
def test_by_default_what_changes_something_is_searched(values, names):
    config = Tune(output_dir="d", **values)
    assert search_space.names(search_space.from_config(config)) == names


def test_a_search_of_nothing_is_refused():
    config = Tune(output_dir="d", train_body=False, head_initialization="nil")
    with pytest.raises(InputError, match="--search_NAME: expected one or more"):
        search_space.from_config(config)
