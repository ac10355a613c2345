"""Experiment 2 on made results: the verdicts must be those that were built in."""

import math

import pytest

from anil_tf.study import sweeps
from anil_tf.study.claims import INCONCLUSIVE, NOT_SUPPORTED, SUPPORTED
from anil_tf.study.experiment import Data
from anil_tf.study.experiments import nonconvex
from anil_tf.study.experiments.nonconvex import EXPERIMENT, LARGE, SHRINKING, SMALL
from anil_tf.study.scale import SCALES
from tests.study.experiments.made_results import (
    learning,
    reasons,
    table,
    tables,
    verdicts,
    without,
)

LEVEL_LARGE, LEVEL_SMALL = f"level: {LARGE.label}", f"level: {SMALL.label}"


def cells(scale="small"):
    return EXPERIMENT.cells(SCALES[scale], Data("fc100"))


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


@pytest.mark.parametrize(
    ("large", "small", "shrinking", "expected"),
    [
        (slower, faster, lambda n: 0.015, (SUPPORTED, NOT_SUPPORTED, SUPPORTED)),
        (faster, slower, faster, (NOT_SUPPORTED, SUPPORTED, INCONCLUSIVE)),
        (slower, faster, slower, (SUPPORTED, NOT_SUPPORTED, NOT_SUPPORTED)),
        (
            slower,
            faster,
            lambda n: 0.015 / (1 + 0.3 * math.log2(n)),
            (SUPPORTED, NOT_SUPPORTED, NOT_SUPPORTED),
        ),
    ],
    ids=["a cure", "nothing to cure", "no cure", "relief that leaves a little harm"],
)
def test_harm_and_its_cure(large, small, shrinking, expected):
    found = verdicts(EXPERIMENT, table(cells(), by_step_size(large, small, shrinking)))
    assert (found[LEVEL_LARGE], found[LEVEL_SMALL], found["cure"]) == expected


@pytest.mark.parametrize("at", [0, 48])
def test_divergence_at_large_n_is_harm(at):
    def loss(settings, step):
        is_large = settings["inner_step_size"] == nonconvex.LARGE_STEP
        lost = is_large and settings["inner_steps"] > 5 and step >= at
        return math.nan if lost else learning(same)(settings, step)

    frame = table(cells(), loss)
    found = verdicts(EXPERIMENT, frame)
    diverged = tables(EXPERIMENT, frame)[0].set_index("condition")["diverged"]
    assert found[LEVEL_LARGE] == found["cure"] == SUPPORTED
    assert diverged[LARGE.label] == 9 and diverged[SHRINKING.label] == 0


def test_a_loss_above_chance_is_taken_as_it_is_and_counted():
    def loss(settings, step):
        large = settings["inner_step_size"] == nonconvex.LARGE_STEP
        explodes = large and settings["inner_steps"] >= 10
        return 50.0 if explodes else learning(same)(settings, step)

    frame = table(cells(), loss)
    rows = LARGE.rows(frame)
    above = tables(EXPERIMENT, frame)[0].set_index("condition")["end above chance"]
    assert rows["level"].max() == pytest.approx(math.log(50))
    assert rows.loc[rows["inner_steps"] == 20, "progress"].abs().max() == 0
    assert above[LARGE.label] == 6 and above[SHRINKING.label] == 0


@pytest.mark.parametrize(("start", "counts_as"), [(1.5, math.log(5)), (3.0, 3.0)])
def test_what_diverged_counts_as_chance_or_as_its_own_start_where_that_was_worse(start, counts_as):
    rows = LARGE.rows(
        table(cells(), lambda settings, step: {0: start, 12: 1.2}.get(step, math.nan))
    )
    after = rows["meta_step"] > 12
    assert rows.loc[rows["meta_step"] == 12, "level"].to_numpy() == pytest.approx(math.log(1.2))
    assert rows.loc[after, "level"].to_numpy() == pytest.approx(math.log(counts_as))


def test_a_missing_run_is_not_left_out_in_silence():
    some = without(cells(), seed=4, inner_steps=10, inner_step_size=nonconvex.LARGE_STEP)
    found = verdicts(EXPERIMENT, table(some, by_step_size(slower, faster, same)))
    assert found[LEVEL_LARGE] == found["cure"] == INCONCLUSIVE
    assert found[LEVEL_SMALL] == NOT_SUPPORTED


def test_the_shrinking_step_shares_its_first_cells_with_the_fixed_one():
    shrinking = sweeps.training_cells(SHRINKING, SCALES["small"], Data("fc100"))
    sizes = {cell.settings["inner_steps"]: cell.settings["inner_step_size"] for cell in shrinking}
    assert sizes == {n: pytest.approx(2.0 / n) for n in (1, 3, 5, 7, 10, 20)}
    assert len(cells()) - len(set(cells())) == 3


def test_long_asks_again_what_length_can_change_and_says_what_was_not_run():
    long = SCALES["long"]
    assert {cell.settings["seed"] for cell in cells("long")} == {*long.seeds[:3]}
    assert nonconvex.meta_steps(long) == 500 > 5 * nonconvex.meta_steps(SCALES["small"])
    frame = table(cells("long"), by_step_size(slower, faster, lambda n: 0.015))
    found = verdicts(EXPERIMENT, frame)
    assert found[LEVEL_LARGE] == found["cure"] == SUPPORTED
    assert set(reasons(EXPERIMENT, frame).values()) == {"not run"}
    assert LEVEL_SMALL in reasons(EXPERIMENT, frame)


def test_where_the_runs_end_is_told_apart_from_the_way_there():
    """N = 1 begins far up and ends lowest: faster over all meta-steps, and best at the end."""

    def loss(settings, step):
        steps = settings["inner_steps"]
        end = 1 + 0.1 * math.log2(steps) + 1e-3 * settings["seed"]
        return 30.0 if steps == 1 and step < 300 else end

    row = tables(EXPERIMENT, table(cells(), loss))[0].set_index("condition").loc[LARGE.label]
    assert row["loss per doubling of N (%)"].high < 0 < row["loss at the end (%)"].low
    assert row["loss at the end (%)"].center == pytest.approx(8.6, abs=0.5)
    assert row["test accuracy at the end (points)"].high < 0
