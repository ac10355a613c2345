import pytest

from anil_tf.tuning.search_space import Choice, Interval, SearchSpace

SPACE = SearchSpace(
    [
        Interval("inner_step_size", 0.01, 1.0),
        Interval("inner_steps", 1, 20, whole=True),
        Interval("inner_l2", 0.0, 0.1),
        Choice("filters", (16, 32, 64)),
        Choice("first_order", (False, True)),
    ]
)


def samples(count=400):
    """Values that KerasTuner draws from the space."""
    drawn = []
    for seed in range(count):
        declared = SPACE.hyperparameters().space
        drawn.append({each.name: each.random_sample(seed) for each in declared})
    return drawn


def test_values_are_drawn_from_all_of_the_space_and_from_nowhere_else():
    drawn = [SPACE.plain(values) for values in samples()]
    assert all(SPACE.holds(values) for values in drawn)
    assert {values["filters"] for values in drawn} == {16, 32, 64}
    assert {values["first_order"] for values in drawn} == {False, True}
    assert {values["inner_steps"] for values in drawn} == set(range(1, 21))
    below = sum(values["inner_step_size"] < 0.1 for values in drawn) / len(drawn)
    assert 0.4 < below < 0.6, "logarithmic: half of the draws lie below the geometric mean"
    below = sum(values["inner_l2"] < 0.05 for values in drawn) / len(drawn)
    assert 0.4 < below < 0.6, "linear from 0"


@pytest.mark.parametrize("value", [0.0123456789, 0.987654321, 0.0333333])
def test_real_values_survive_32_bits(value):
    import numpy as np

    interval = Interval("inner_step_size", 0.01, 1.0)
    plain = interval.plain(value)
    assert plain == interval.plain(float(np.float32(plain)))
    assert plain == pytest.approx(value, rel=5e-3)


def test_values_are_of_their_own_types_and_within():
    plain = SPACE.plain(
        {"inner_steps": 21.0, "inner_step_size": 1.0000001, "filters": 32.0, "first_order": 1}
    )
    assert plain == {"inner_step_size": 1.0, "inner_steps": 20, "filters": 32, "first_order": True}
    assert [type(value) for value in plain.values()] == [float, int, int, bool]
    assert SPACE.plain({"tuner/epochs": 3}) == {}


@pytest.mark.parametrize(
    ("changed", "holds"),
    [
        ({}, True),
        ({"inner_step_size": 2.0}, False),
        ({"inner_step_size": "auto"}, False),
        ({"filters": 48}, False),
        ({"first_order": None}, False),
    ],
)
def test_a_setting_is_in_the_space_or_not(changed, holds):
    given = {"inner_step_size": 0.1, "inner_steps": 5, "inner_l2": 0.0, "filters": 32}
    assert SPACE.holds({**given, "first_order": False, **changed}) is holds


def test_probes_are_in_the_space_and_have_every_choice():
    given = {"inner_step_size": 2.0, "inner_steps": 5, "inner_l2": "auto", "filters": 32}
    probes = SPACE.probes({**given, "first_order": True})
    assert SPACE.outside({**given, "first_order": True}) == ["inner_step_size", "inner_l2"]
    first = {"inner_step_size": 0.01, "inner_steps": 5, "inner_l2": 0.0, "filters": 32}
    assert probes[0] == first | {"first_order": True}, "moved into the space where it was not"
    assert all(SPACE.holds(probe) for probe in probes)
    assert [(each["filters"], each["first_order"]) for each in probes] == [
        (32, True),
        (16, True),
        (64, True),
        (32, False),
    ]


@pytest.mark.parametrize(("low", "high"), [(1.0, 0.1), (0.5, 0.5), (-1.0, 1.0)])
def test_bounds_that_bound_nothing_are_refused(low, high):
    with pytest.raises(ValueError, match="expected 0 <= low < high"):
        Interval("inner_step_size", low, high)
