"""Experiment 2 on made results: the verdicts must be those that were built in."""

import dataclasses
import math

import pytest

from anil_tf.study.claims import INCONCLUSIVE, NOT_SUPPORTED, SUPPORTED
from anil_tf.study.experiment import Data
from anil_tf.study.experiments import nonconvex, sweeps
from anil_tf.study.experiments.nonconvex import EXPERIMENT, LARGE, SHRINKING, SMALL
from anil_tf.study.scale import SCALES
from tests.study.experiments.made_results import learning, table, verdicts, without

SMALL_SCALE = SCALES["small"]
LEVEL_LARGE, LEVEL_SMALL = f"level: {LARGE.label}", f"level: {SMALL.label}"


def cells(scale=SMALL_SCALE):
    return EXPERIMENT.cells(scale, Data("fc100"))


def slower(steps):
    return 0.015 / (1 + math.log2(steps))


def faster(steps):
    return 0.002 * (1 + math.log2(steps))


def same(steps):
    return 0.008


def by_step_size(large, small, shrinking):
    """A loss with a rate of its own for each condition; all runs with N = 1 and alpha = c learn alike."""

    def loss(settings, step):
        alpha = settings["inner_step_size"]
        of_order = math.isclose(alpha * settings["inner_steps"], nonconvex.LARGE_STEP)
        rate = large if alpha == nonconvex.LARGE_STEP else shrinking if of_order else small
        return learning(rate)(settings, step)

    return loss


def test_harm_at_the_large_step_alone_and_its_cure_are_supported():
    found = verdicts(EXPERIMENT, table(cells(), by_step_size(slower, faster, lambda n: 0.015)))

    assert found[LEVEL_LARGE] == found["cure"] == SUPPORTED
    assert found[LEVEL_SMALL] == NOT_SUPPORTED


def test_no_harm_means_nothing_to_cure():
    found = verdicts(EXPERIMENT, table(cells(), by_step_size(faster, slower, faster)))

    assert found[LEVEL_LARGE] == NOT_SUPPORTED and found[LEVEL_SMALL] == SUPPORTED
    assert found["cure"] == INCONCLUSIVE


def test_a_cure_that_leaves_the_harm_is_not_supported():
    harm = by_step_size(slower, same, slower)

    assert verdicts(EXPERIMENT, table(cells(), harm))["cure"] == NOT_SUPPORTED


def test_relief_that_leaves_a_little_harm_is_no_cure():
    def a_little_slower(steps):
        return 0.015 / (1 + 0.3 * math.log2(steps))

    frame = table(cells(), by_step_size(slower, same, a_little_slower))
    relief = next(claim for claim in EXPERIMENT.judge(frame) if "cures" in claim.claim)

    assert relief.interval[0] > 0 and sweeps.trend(SHRINKING.rows(frame), sweeps.LEVEL).low > 1
    assert relief.verdict == NOT_SUPPORTED


@pytest.mark.parametrize("at", [0, 48])
def test_divergence_at_large_n_is_harm(at):
    def loss(settings, step):
        if (
            settings["inner_step_size"] == nonconvex.LARGE_STEP
            and settings["inner_steps"] > 5
            and step >= at
        ):
            return math.nan
        return learning(same)(settings, step)

    frame = table(cells(), loss)
    found = verdicts(EXPERIMENT, frame)
    diverged = EXPERIMENT.tables(frame)[0].frame.set_index("condition")["diverged"]

    assert found[LEVEL_LARGE] == found["cure"] == SUPPORTED
    assert diverged[LARGE.label] == 9 and diverged[SHRINKING.label] == 0


def test_a_loss_above_chance_is_taken_as_it_is_and_counted():
    def loss(settings, step):
        large = settings["inner_step_size"] == nonconvex.LARGE_STEP
        explodes = large and settings["inner_steps"] >= 10
        return 50.0 if explodes else learning(same)(settings, step)

    frame = table(cells(), loss)
    rows = LARGE.rows(frame)
    above = EXPERIMENT.tables(frame)[0].frame.set_index("condition")["end above chance"]

    assert rows["level"].max() == pytest.approx(math.log(50))
    assert rows.loc[rows["inner_steps"] == 20, "progress"].abs().max() == 0
    assert above[LARGE.label] == 6 and above[SHRINKING.label] == 0


@pytest.mark.parametrize("start, counts_as", [(1.5, math.log(5)), (3.0, 3.0)])
def test_what_diverged_has_learned_nothing(start, counts_as):
    """It counts as chance, or as its own start where that was worse."""

    def loss(settings, step):
        return {0: start, 12: 1.2}.get(step, math.nan)

    rows = LARGE.rows(table(cells(), loss))

    assert rows.loc[rows["meta_step"] == 12, "level"].to_numpy() == pytest.approx(math.log(1.2))
    assert rows.loc[rows["meta_step"] > 12, "level"].to_numpy() == pytest.approx(
        math.log(counts_as)
    )


def test_one_seed_and_no_trend_are_inconclusive():
    def even(settings, step):
        luck = {4: 1, 5: -1, 6: 0.3}[settings["seed"]] * math.log2(settings["inner_steps"])
        return 1 + 0.5 * math.exp(-(0.004 + 0.0004 * luck) * step)

    one_seed = dataclasses.replace(SMALL_SCALE, seeds=(0,))
    alone = verdicts(EXPERIMENT, table(cells(one_seed), by_step_size(slower, faster, same)))

    assert set(alone.values()) == {INCONCLUSIVE}
    assert set(verdicts(EXPERIMENT, table(cells(), even)).values()) == {INCONCLUSIVE}


def test_a_missing_run_is_not_left_out_in_silence():
    some = without(cells(), seed=4, inner_steps=10, inner_step_size=nonconvex.LARGE_STEP)
    found = verdicts(EXPERIMENT, table(some, by_step_size(slower, faster, same)))

    assert found[LEVEL_LARGE] == found["cure"] == INCONCLUSIVE
    assert found[LEVEL_SMALL] == NOT_SUPPORTED


def test_conditions_share_cells():
    found = cells()
    shrinking = {
        cell.settings["inner_steps"]: cell.settings["inner_step_size"]
        for cell in sweeps.training_cells(SHRINKING, SMALL_SCALE, Data("fc100"))
    }

    assert shrinking == {n: pytest.approx(2.0 / n) for n in (1, 3, 5, 7, 10, 20)}
    assert len(found) - len(set(found)) == 3  # N = 1 of the large step
    assert {cell.settings["adapted_layers"] for cell in found} == {2}


def test_pictures_and_tables(tmp_path):
    frame = table(cells(), by_step_size(slower, faster, same), folder=tmp_path)
    pictures, tables = EXPERIMENT.draw(frame, tmp_path), EXPERIMENT.tables(frame)

    assert [one.file for one in pictures] == [
        "loss.png",
        "trends.png",
        "courses_meta_step.png",
        "courses_seconds.png",
    ]
    assert all(0 < (tmp_path / one.file).stat().st_size < 120_000 for one in pictures)
    assert len(tables[0].frame) == 4 and len(tables[1].frame) == 24


def test_long_asks_again_what_length_can_change_and_says_what_was_not_run():
    long = SCALES["long"]
    assert {cell.settings["seed"] for cell in cells(long)} == {*long.seeds[:3]}
    assert nonconvex.meta_steps(long) == 500 > 5 * nonconvex.meta_steps(SMALL_SCALE)

    frame = table(cells(long), by_step_size(slower, faster, lambda n: 0.015))
    found = {claim.claim: claim for claim in EXPERIMENT.judge(frame)}
    by_key = {key: found[rule.claim] for key, rule in EXPERIMENT.rules.items()}

    assert by_key[LEVEL_LARGE].verdict == by_key["cure"].verdict == SUPPORTED
    assert not by_key[LEVEL_LARGE].reason and not by_key["cure"].reason
    assert by_key[LEVEL_SMALL].verdict == INCONCLUSIVE
    assert by_key[LEVEL_SMALL].reason == "not run"


def test_where_the_runs_end_is_told_apart_from_the_way_there():
    """N = 1 begins far up and ends lowest: faster over all meta-steps, and best at the end."""

    def loss(settings, step):
        steps = settings["inner_steps"]
        own = 1e-3 * settings["seed"]
        end = 1 + 0.1 * math.log2(steps) + own
        return 30.0 if steps == 1 and step < 300 else end

    frame = table(cells(), loss)
    row = EXPERIMENT.tables(frame)[0].frame.set_index("condition").loc[LARGE.label]

    assert row["loss per doubling of N (%)"].high < 0 < row["loss at the end (%)"].low
    assert row["loss at the end (%)"].center == pytest.approx(8.6, abs=0.5)
    assert row["test accuracy at the end (points)"].high < 0
