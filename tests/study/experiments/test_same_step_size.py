"""Experiment 3 on made results: the verdicts must be those that were built in."""

import dataclasses
import math

import pytest

from anil_tf.study.claims import INCONCLUSIVE, NOT_SUPPORTED, SUPPORTED
from anil_tf.study.experiment import Data
from anil_tf.study.experiments import nonconvex
from anil_tf.study.experiments.same_step_size import EXPERIMENT, PAIRS, SAFE_STEP, few
from anil_tf.study.scale import SCALES
from tests.study.experiments.made_results import learning, table, verdicts

SMALL_SCALE = SCALES["small"]
SIGNS, DIFFERENCE = (f"{name}: {PAIRS[0][0].alpha}" for name in ("signs", "difference"))


def cells(scale=SMALL_SCALE):
    return EXPERIMENT.cells(scale, Data("fc100"))


def faster(steps):
    return 0.002 * (1 + math.log2(steps))


def slower(steps):
    return 0.015 / (1 + math.log2(steps))


def a_little_faster(steps):
    return 0.006 * (1 + 0.05 * math.log2(steps))


def by_geometry(convex, other):
    def loss(settings, step):
        return learning(convex if settings["adapted_layers"] == 1 else other)(settings, step)

    return loss


@pytest.mark.parametrize(
    "convex, other, signs, difference",
    [
        (faster, slower, SUPPORTED, SUPPORTED),
        (slower, faster, NOT_SUPPORTED, NOT_SUPPORTED),
        (faster, a_little_faster, NOT_SUPPORTED, SUPPORTED),  # the nonconvex one is not slower
        (faster, faster, NOT_SUPPORTED, INCONCLUSIVE),
    ],
)
def test_verdicts(convex, other, signs, difference):
    found = verdicts(EXPERIMENT, table(cells(), by_geometry(convex, other)))

    assert (found[SIGNS], found[DIFFERENCE]) == (signs, difference)


def test_a_contraction_too_weak_to_see_is_inconclusive():
    frame = table(cells(), by_geometry(faster, slower))
    convex = (frame["adapted_layers"] == 1) & (frame["inner_step_size"] == SAFE_STEP)
    frame.loc[convex, "alpha"] = 0.001
    found = verdicts(EXPERIMENT, frame)

    assert found[SIGNS] == found[DIFFERENCE] == INCONCLUSIVE
    assert {claim.reason for claim in EXPERIMENT.judge(frame)} == {"q^20 = 0.99", ""}
    assert found[f"signs: {PAIRS[1][0].alpha}"] == SUPPORTED


def test_beyond_the_largest_step_of_the_theory_it_says_nothing():
    frame = table(cells(), by_geometry(faster, slower), smoothness=60.0)
    found = verdicts(EXPERIMENT, frame)

    assert found[f"signs: {PAIRS[1][0].alpha}"] == INCONCLUSIVE  # 0.05 > 2/60.5 > 0.02
    assert found[SIGNS] == SUPPORTED
    assert {claim.reason for claim in EXPERIMENT.judge(frame)} == {"2/(L + mu) = 0.0331", ""}


def test_one_seed_is_inconclusive():
    one_seed = dataclasses.replace(SMALL_SCALE, seeds=(0,))
    frame = table(cells(one_seed), by_geometry(faster, slower))

    assert set(verdicts(EXPERIMENT, frame).values()) == {INCONCLUSIVE}


def test_only_n_that_both_ran_are_compared():
    """The nonconvex runs have more N; those must not move its slope."""
    between = set(SMALL_SCALE.inner_steps) - set(few(SMALL_SCALE.inner_steps))

    def loss(settings, step):
        return (
            math.nan
            if settings["inner_steps"] in between
            else by_geometry(faster, slower)(settings, step)
        )

    assert between and verdicts(EXPERIMENT, table(cells(), loss))[SIGNS] == SUPPORTED


def test_the_nonconvex_cells_at_the_larger_step_are_those_of_the_second_experiment():
    theirs = set(nonconvex.EXPERIMENT.cells(SMALL_SCALE, Data("fc100")))
    shared = set(cells()) & theirs

    assert {cell.settings["inner_step_size"] for cell in shared} == {nonconvex.SMALL_STEP}
    assert len(shared) == 6 * 3 and len(set(cells()) - shared) == 3 * 3 * 3
    assert few((1, 3, 5, 7, 10, 20)) == (1, 5, 20) and few((1, 5)) == (1, 5)


def test_pictures_and_tables(tmp_path):
    frame = table(cells(), by_geometry(faster, slower), folder=tmp_path)
    pictures, tables = EXPERIMENT.draw(frame, tmp_path), EXPERIMENT.tables(frame)

    assert [one.file for one in pictures] == ["trends.png", "loss.png"]
    assert all(0 < (tmp_path / one.file).stat().st_size < 120_000 for one in pictures)
    limits = tables[0].frame["2/(L + mu)"]
    assert limits.iloc[0] == pytest.approx(2 / 10.5) and math.isnan(limits.iloc[1])
    assert EXPERIMENT.draw(frame.head(0), tmp_path) == EXPERIMENT.tables(frame.head(0)) == []
