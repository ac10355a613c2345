"""What a meta-step costs, timed in turns and counted."""

import pytest

from anil_tf.study.measurements import meta_step_cost
from anil_tf.theory import complexity
from tests.study.measurements.test_gradient_variance import SETTINGS

OWN = ("adapted_layers", "inner_steps", "differentiation", "meta_steps", "sizes", "draws")


@pytest.fixture(scope="module")
def rows():
    settings = {key: value for key, value in SETTINGS.items() if key not in OWN} | {
        "compared_inner_steps": "1 3",
        "engine_of_anil": "explicit",
        "engine_of_maml": "unrolled",
        "repeats": 3,
    }
    return {(row["method"], row["inner_steps"]): row for row in meta_step_cost.run(settings)}


def test_every_contender_is_timed_and_the_quartiles_are_in_order(rows):
    assert set(rows) == {(method, steps) for method in ("anil", "maml") for steps in (1, 3)}
    for row in rows.values():
        for name in ("seconds_per_meta_step", "seconds_per_adaptation"):
            assert 0 < row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]


def test_anil_adapts_a_part_of_what_maml_adapts(rows):
    anil, maml = rows["anil", 1], rows["maml", 1]
    assert (anil["adapted_layers"], anil["differentiation"]) == (1, "explicit")
    assert (maml["adapted_layers"], maml["differentiation"]) == ("all", "unrolled")
    assert maml["body_parameters"] == 0
    assert 0 < anil["head_parameters"] < maml["head_parameters"]
    assert anil["head_parameters"] + anil["body_parameters"] == maml["head_parameters"]


def test_the_counts_are_those_of_the_theory_and_give_its_flop_model(rows):
    anil, maml = rows["anil", 3], rows["maml", 3]
    assert (anil["gradients"], anil["hessian_vector"], anil["mixed"]) == (4, 3, 3)
    assert (anil["body_forward"], anil["body_backward"]) == (1, 1)
    assert maml["mixed"] == 0 and maml["body_backward_again"] == 3
    ratio = maml["body_work"] / anil["body_work"]
    assert ratio == complexity.flop_ratio(3, support=3, queries=6) == (9 * 3 * 3 + 3 * 6) / (3 * 9)
