"""Experiment 1 on made results: the verdicts must be those that were built in."""

import dataclasses
import math

import pytest

from anil_tf.study.claims import INCONCLUSIVE, NOT_SUPPORTED, SUPPORTED
from anil_tf.study.experiment import Data
from anil_tf.study.experiments.strongly_convex import EXPERIMENT, STRONG, STRONGER
from anil_tf.study.scale import SCALES
from tests.study.experiments.made_results import (
    learning,
    reasons,
    table,
    tables,
    verdicts,
    without,
)

SMALL = SCALES["small"]
PER_STEP, LEARNING, IN_TIME = (
    f"{name}: {STRONG.label}" for name in ("per_step", "learning", "in_time")
)


def cells(scale=SMALL):
    return EXPERIMENT.cells(scale, Data("fc100"))


def faster(steps):
    return 0.002 * (1 + math.log2(steps))


def slower(steps):
    return 0.015 / (1 + math.log2(steps))


@pytest.mark.parametrize(("rate", "verdict"), [(faster, SUPPORTED), (slower, NOT_SUPPORTED)])
def test_how_fast_a_larger_n_learns_decides(rate, verdict):
    found = verdicts(EXPERIMENT, table(cells(), learning(rate)))
    assert found[PER_STEP] == found[LEARNING] == verdict


def test_a_head_start_is_told_from_learning():
    ahead = learning(lambda steps: 0.003, start=lambda steps: 1.55 - 0.03 * math.log2(steps))
    found = verdicts(EXPERIMENT, table(cells(), ahead))
    assert found[PER_STEP] == SUPPORTED
    assert found[LEARNING] != SUPPORTED


def test_no_difference_between_n_is_inconclusive():
    def loss(settings, step):
        luck = {4: 1, 5: -1, 6: 0.3}[settings["seed"]] * math.log2(settings["inner_steps"])
        return 1 + 0.5 * math.exp(-(0.004 + 0.0004 * luck) * step)

    found = verdicts(EXPERIMENT, table(cells(), loss))
    assert found[PER_STEP] == found[LEARNING] == found[IN_TIME] == INCONCLUSIVE


def test_where_the_contraction_of_the_weakest_seed_cannot_be_seen_it_is_inconclusive():
    frame = table(cells(), learning(faster))
    frame.loc[(frame["seed"] == 5) & (frame["inner_l2"] == 0.5), "alpha"] = 0.001
    assert verdicts(EXPERIMENT, frame)[PER_STEP] == INCONCLUSIVE
    found = reasons(EXPERIMENT, frame)
    assert found[PER_STEP] == found[IN_TIME] == "q^20 = 0.99"
    assert not any(STRONGER.label in key for key in found)


@pytest.mark.parametrize(
    ("rate", "seconds", "verdict"),
    [
        (lambda n: 0.02 * (1 - 0.8**n), lambda n: 0.02 + 0.02 * n, SUPPORTED),
        (faster, lambda n: 0.1, NOT_SUPPORTED),
        (lambda n: 0.01, lambda n: 0.02 + 0.02 * n, NOT_SUPPORTED),
        (lambda n: 0.01 * min(n, 7) / 7, lambda n: 0.1, INCONCLUSIVE),
        (faster, lambda n: math.nan, INCONCLUSIVE),
    ],
    ids=["a moderate N wins", "the largest N wins", "the smallest N wins", "a tie", "no timings"],
)
def test_a_moderate_n_in_time(rate, seconds, verdict):
    frame = table(cells(), learning(rate, noise=0.0), seconds=seconds)
    assert verdicts(EXPERIMENT, frame)[IN_TIME] == verdict


@pytest.mark.parametrize(
    ("gain", "verdict"),
    [(0.5, SUPPORTED), (0.0, NOT_SUPPORTED), (-0.5, NOT_SUPPORTED)],
    ids=["with lambda", "alike", "without"],
)
def test_whether_it_is_the_convexity(gain, verdict):
    def loss(settings, step):
        helped = gain if settings["inner_l2"] == STRONGER.inner_l2 else 0.0
        return learning(lambda n: 0.002 * (1 + (1 + helped) * math.log2(n)))(settings, step)

    assert verdicts(EXPERIMENT, table(cells(), loss))["convexity"] == verdict


def test_the_convexity_is_judged_on_what_both_ran():
    """The runs without lambda are shorter, and what the others do after that is left out."""
    end = 108

    def loss(settings, step):
        gain = 0.5 if step <= end else -5.0
        helped = gain if settings["inner_l2"] == STRONGER.inner_l2 else 0.0
        return learning(lambda n: 0.002 * (1 + (1 + helped) * math.log2(n)))(settings, step)

    frame = table(cells(), loss)
    beyond = (frame["inner_l2"] == 0.0) & (frame["meta_step"] > end)
    assert verdicts(EXPERIMENT, frame[~beyond])["convexity"] == SUPPORTED
    assert verdicts(EXPERIMENT, frame)["convexity"] == NOT_SUPPORTED


def test_one_seed_is_inconclusive():
    frame = table(cells(dataclasses.replace(SMALL, seeds=(0,))), learning(faster))
    assert set(verdicts(EXPERIMENT, frame).values()) == {INCONCLUSIVE}


def test_a_diverged_run_counts_as_having_learned_nothing():
    def loss(settings, step):
        lost = settings["inner_steps"] >= 7 and step > 0
        return math.nan if lost else learning(faster)(settings, step)

    found = verdicts(EXPERIMENT, table(cells(), loss))
    assert found[PER_STEP] == found[LEARNING] == NOT_SUPPORTED
    assert found[IN_TIME] != NOT_SUPPORTED


def test_a_missing_run_is_not_left_out_in_silence():
    some = without(cells(), seed=4, inner_steps=20, inner_l2=0.5, inner_step_size="1/L")
    found = verdicts(EXPERIMENT, table(some, learning(faster)))
    assert found[PER_STEP] == found[LEARNING] == found[IN_TIME] == INCONCLUSIVE


def test_the_cells_are_three_judged_conditions_and_one_without_lambda():
    found = cells()
    runs = [cell.settings for cell in found if not cell.alone]
    assert {(one["inner_l2"], one["body"]) for one in runs} == {
        (2.0, "conv4"),
        (0.5, "conv4"),
        (0.0, "conv4"),
        (0.5, "smooth_conv4"),
    }
    assert {one["inner_step_size"] for one in runs} == {"1/L"}
    assert len(set(found)) == len(found) == 4 * 6 * 3 + 6
    assert {one["meta_steps"] for one in runs if one["inner_l2"]} == {133}


def test_verdicts_are_the_same_from_the_file(tmp_path):
    loss = learning(faster)
    made, read = table(cells(), loss), table(cells(), loss, folder=tmp_path)
    assert [one.judge(read) for one in EXPERIMENT.claims] == [
        one.judge(made) for one in EXPERIMENT.claims
    ]
    row = tables(EXPERIMENT, read)[1].query("condition == @STRONG.label and N == 20").iloc[0]
    assert row["q^N"] == pytest.approx((1 - 0.5 / 10) ** 20)
    assert row["alpha"] == pytest.approx(0.1)
