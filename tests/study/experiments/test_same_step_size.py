"""Experiment 3 on made results: the verdicts must be those that were built in."""

import math

import pytest

from anil_tf.study.claims import INCONCLUSIVE, NOT_SUPPORTED, SUPPORTED
from anil_tf.study.experiment import Data
from anil_tf.study.experiments.same_step_size import CONVEX, EXPERIMENT
from anil_tf.study.scale import SCALES
from tests.study.experiments.made_results import learning, reasons, table, verdicts

SIGNS, DIFFERENCE = (f"{name}: {CONVEX.alpha}" for name in ("signs", "difference"))
CELLS = EXPERIMENT.cells(SCALES["small"], Data("fc100"))


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
    ("convex", "other", "signs", "difference"),
    [
        (faster, slower, SUPPORTED, SUPPORTED),
        (slower, faster, NOT_SUPPORTED, NOT_SUPPORTED),
        (faster, a_little_faster, NOT_SUPPORTED, SUPPORTED),  # the nonconvex one is not slower
        (faster, faster, NOT_SUPPORTED, INCONCLUSIVE),
    ],
)
def test_verdicts(convex, other, signs, difference):
    found = verdicts(EXPERIMENT, table(CELLS, by_geometry(convex, other)))
    assert (found[SIGNS], found[DIFFERENCE]) == (signs, difference)


@pytest.mark.parametrize(
    ("alpha", "smoothness", "reason"),
    [(0.001, 10.0, "q^20 = 0.99"), (0.02, 120.0, "2/(L + mu) = 0.0166")],
    ids=["the contraction is too weak", "beyond the largest step of the theory"],
)
def test_what_the_design_cannot_tell_is_inconclusive(alpha, smoothness, reason):
    frame = table(CELLS, by_geometry(faster, slower), smoothness=smoothness)
    frame.loc[frame["adapted_layers"] == 1, "alpha"] = alpha
    assert set(verdicts(EXPERIMENT, frame).values()) == {INCONCLUSIVE}
    assert set(reasons(EXPERIMENT, frame).values()) == {reason}


def test_the_cells_are_the_smallest_the_middle_and_the_largest_n():
    assert {cell.settings["inner_steps"] for cell in CELLS} == {1, 5, 20}
    assert len(set(CELLS)) == 2 * 3 * 3
