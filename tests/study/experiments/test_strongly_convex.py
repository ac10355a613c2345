"""Experiment 1 on made results: the verdicts must be those that were built in."""

import dataclasses
import math

import pytest

from anil_tf.study import report
from anil_tf.study.claims import INCONCLUSIVE, NOT_SUPPORTED, SUPPORTED, VERDICTS
from anil_tf.study.experiment import Data
from anil_tf.study.experiments import strongly_convex, sweeps
from anil_tf.study.experiments.strongly_convex import (
    EXPERIMENT,
    LARGEST_STEP,
    PAPERS_STEP,
    SMOOTH,
    STRONGER,
)
from anil_tf.study.scale import SCALES
from tests.study.experiments.made_results import learning, table, verdicts, without

SMALL = SCALES["small"]
DATA = Data("fc100")
STRONG, WEAK = LARGEST_STEP[0], LARGEST_STEP[2]
PER_STEP, LEARNING, IN_TIME = (
    f"{name}: {STRONG.label}"
    for name in (strongly_convex.PER_STEP, strongly_convex.LEARNING, strongly_convex.IN_TIME)
)


def cells(scale=SMALL):
    return EXPERIMENT.cells(scale, DATA)


def faster(steps):
    return 0.002 * (1 + math.log2(steps))


def slower(steps):
    return 0.015 / (1 + math.log2(steps))


def test_larger_n_that_learns_faster_is_supported():
    found = verdicts(EXPERIMENT, table(cells(), learning(faster)))

    assert found[PER_STEP] == found[LEARNING] == SUPPORTED


def test_larger_n_that_learns_more_slowly_is_not_supported():
    found = verdicts(EXPERIMENT, table(cells(), learning(slower)))

    assert found[PER_STEP] == found[LEARNING] == NOT_SUPPORTED


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


def test_where_the_contraction_is_too_weak_the_only_verdict_is_inconclusive():
    frame = table(cells(), learning(faster))
    found = verdicts(EXPERIMENT, frame)
    unseen = [one for one in strongly_convex.JUDGED if one.inner_l2 < 0.1 or one in PAPERS_STEP]

    assert {sweeps.contraction(one.rows(frame), 20) > 0.9 for one in unseen} == {True}
    assert unseen and sweeps.trend(WEAK.rows(frame), sweeps.LEVEL).high < 0  # though it is there
    for one in unseen:
        assert {verdict for key, verdict in found.items() if one.label in key} == {INCONCLUSIVE}
    reasons = {one.claim: one.reason for one in EXPERIMENT.judge(frame)}
    assert reasons[EXPERIMENT.rules[f"per_step: {WEAK.label}"].claim] == "q^20 = 0.98"
    assert reasons[EXPERIMENT.rules[PER_STEP].claim] == ""


def test_the_gate_takes_the_weakest_seed():
    frame = table(cells(), learning(faster))
    frame.loc[(frame["seed"] == 5) & (frame["inner_l2"] == 0.5), "alpha"] = 0.001

    assert verdicts(EXPERIMENT, frame)[PER_STEP] == INCONCLUSIVE


def test_a_moderate_n_in_time_is_supported_where_it_wins():
    frame = table(
        cells(), learning(lambda n: 0.02 * (1 - 0.8**n)), seconds=lambda n: 0.02 + 0.02 * n
    )

    assert verdicts(EXPERIMENT, frame)[IN_TIME] == SUPPORTED


@pytest.mark.parametrize(
    "rate, seconds",
    [(faster, lambda n: 0.1), (lambda n: 0.01, lambda n: 0.02 + 0.02 * n)],
    ids=["the largest N wins", "the smallest N wins"],
)
def test_a_moderate_n_in_time_is_not_supported_where_an_end_wins(rate, seconds):
    frame = table(cells(), learning(rate, noise=0.0), seconds=seconds)

    assert verdicts(EXPERIMENT, frame)[IN_TIME] == NOT_SUPPORTED


def test_a_tie_in_time_is_inconclusive():
    frame = table(
        cells(), learning(lambda n: 0.01 * min(n, 7) / 7, noise=0.0), seconds=lambda n: 0.1
    )

    assert verdicts(EXPERIMENT, frame)[IN_TIME] == INCONCLUSIVE


def test_without_timings_there_is_no_verdict_in_time():
    untimed = [cell for cell in cells() if not cell.alone]

    assert verdicts(EXPERIMENT, table(untimed, learning(faster)))[IN_TIME] == INCONCLUSIVE


@pytest.mark.parametrize(
    "gain, verdict",
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
    scale = dataclasses.replace(SMALL, seeds=(0,))
    claims = EXPERIMENT.judge(table(cells(scale), learning(faster)))

    assert {claim.verdict for claim in claims} == {INCONCLUSIVE}
    assert claims[0].seeds == 1 and claims[0].statistic < 0


def test_a_diverged_run_counts_as_having_learned_nothing():
    def loss(settings, step):
        if settings["inner_steps"] >= 7 and step > 0:
            return math.nan
        return learning(faster)(settings, step)

    found = verdicts(EXPERIMENT, table(cells(), loss))

    assert found[PER_STEP] == found[LEARNING] == NOT_SUPPORTED
    assert found[IN_TIME] != NOT_SUPPORTED


def test_a_missing_run_is_not_left_out_in_silence():
    some = without(cells(), seed=4, inner_steps=20, inner_l2=0.5, inner_step_size="1/L")

    found = verdicts(EXPERIMENT, table(some, learning(faster)))

    assert found[PER_STEP] == found[LEARNING] == found[IN_TIME] == INCONCLUSIVE


def test_no_results_at_all_are_inconclusive(tmp_path):
    frame = table(cells(), learning(faster)).head(0)

    assert set(verdicts(EXPERIMENT, frame).values()) == {INCONCLUSIVE}
    assert EXPERIMENT.tables(frame) == [] and EXPERIMENT.draw(frame, tmp_path) == []


def test_the_cells_are_the_issue_s():
    found = cells()
    runs = [cell.settings for cell in found if not cell.alone]
    usual = {(one["inner_l2"], one["inner_step_size"]) for one in runs if one["body"] == "conv4"}

    assert usual == {(l2, "1/L") for l2 in (0, 0.01, 0.1, 0.5, 2)} | {
        (l2, "mu/L^2") for l2 in (0.01, 0.1, 0.5)
    }
    assert {one["inner_steps"] for one in runs} == {1, 3, 5, 7, 10, 20}
    assert len(set(found)) == len(found) == 9 * 6 * 3 + 6
    assert {cell.settings["inner_steps"] for cell in found if cell.alone} == {1, 3, 5, 7, 10, 20}
    assert runs[0]["inner_l2"] == STRONGER.inner_l2 and SMOOTH.body == "smooth_conv4"


@pytest.mark.parametrize("name", ("small", "full"))
def test_only_a_run_of_a_tenth_of_the_steps_is_evaluated_less_often(name):
    scale = SCALES[name]
    for cell in cells(scale):
        run = cell.settings
        if cell.alone:
            continue
        is_short = run["meta_steps"] <= scale.meta_steps / 10
        assert is_short == (name == "small" and run["inner_step_size"] == "mu/L^2")
        assert run["checkpoints"] == (3 if is_short else scale.checkpoints)


def test_the_report_is_the_same_from_the_file(tmp_path):
    loss = learning(faster)
    made, read = table(cells(), loss), table(cells(), loss, folder=tmp_path)

    assert EXPERIMENT.judge(read) == EXPERIMENT.judge(made)
    pictures = EXPERIMENT.draw(read, tmp_path)
    tables = EXPERIMENT.tables(read)
    text = report.render(EXPERIMENT, EXPERIMENT.judge(read), pictures, tables, {"scale": "small"})

    assert pictures[0].file == "loss.png" and len(pictures) == 6
    assert all(0 < (tmp_path / one.file).stat().st_size < 120_000 for one in pictures)
    assert "q^N" in tables[1].frame and len(tables[1].frame) == 9 * 6
    assert text.count("q^20") > 3 and all(word in text for word in VERDICTS[::2])


def test_q_to_the_n_beside_each_cell():
    tables = EXPERIMENT.tables(table(cells(), learning(faster)))
    row = tables[1].frame.query("condition == @STRONG.label and N == 20").iloc[0]

    assert row["q^N"] == pytest.approx((1 - 0.5 / 10) ** 20)
    assert row["alpha"] == pytest.approx(0.1)


def test_smoke_has_few_cells_and_no_power(tmp_path):
    scale = SCALES["smoke"]
    frame = table(cells(scale), learning(faster), folder=tmp_path)

    assert len(cells(scale)) <= 14
    assert verdicts(EXPERIMENT, frame)[IN_TIME] == INCONCLUSIVE  # no N lies between 1 and 5
    assert EXPERIMENT.draw(frame, tmp_path) and EXPERIMENT.tables(frame)
