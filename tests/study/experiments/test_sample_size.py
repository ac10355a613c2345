"""Shots and queries: the claims on made results in which they hold, fail, and cannot be seen."""

import numpy as np
import pandas as pd
import pytest

from anil_tf.study.experiment import Data
from anil_tf.study.experiments import sample_size
from anil_tf.study.experiments.batch_size import VARIANCE
from anil_tf.study.experiments.sample_size import EXPERIMENT, TRAINING
from anil_tf.study.scale import SCALES
from tests.episodes.made_tasks import make_tasks
from tests.study.experiments.made_results import tables, verdicts

STEPS = (0, 4, 16, 60)
SIZES = sorted(
    {(shots, 5) for shots in (1, 2, 5, 10)} | {(5, queries) for queries in (1, 2, 5, 10)}
)


def made(per_shot=0.03, of_shots=-0.3, of_queries=-0.5, faster=-0.02, noise=0.01, seeds=3):
    """Results with these slopes: of accuracy in log2 shots, powers of the variance, of the loss in log2 queries."""
    rng = np.random.default_rng(0)
    rows = []
    for seed in range(seeds):
        for shots, queries in SIZES:
            variance = 9.0 * shots**of_shots * queries**of_queries * np.exp(noise * rng.normal())
            for block, share in (("head", 0.1), ("body", 0.9)):
                measured = {"measured_batch_size": 1, "measured_shots": shots}
                measured |= {"measured_queries": queries, "variance": share * variance}
                row = {"kind": VARIANCE, "seed": seed, "block": block}
                # The columns of the training that came before are there, too, and are not what was measured.
                rows.append(row | {"shots": 5, "queries": 5, "squared_norm": 0.1} | measured)
            height = 1.4 + faster * np.log2(queries) + 0.1 * noise * rng.normal()
            accuracy = 0.3 + per_shot * np.log2(shots) + 0.1 * noise * rng.normal()
            for step in STEPS:
                run = {"seed": seed, "shots": shots, "queries": queries, "meta_step": step}
                found = {"train_loss": height, "test_accuracy": accuracy * (step > 0)}
                rows.append({"kind": TRAINING, "diverged": False} | run | found)
    return pd.DataFrame(rows)


def judged(frame):
    return {one.key: one.judge(frame) for one in EXPERIMENT.claims}


def test_what_holds_is_supported_and_the_slopes_are_those_that_were_made():
    found = judged(made())
    assert {outcome.verdict for outcome in found.values()} == {"supported"}
    shown = {key: outcome.interval.center for key, outcome in found.items()}
    assert shown["shots_accuracy"] == pytest.approx(3.0, abs=0.1)  # points, not fractions
    assert shown["shots_variance"] == pytest.approx(-0.3, abs=0.02)
    assert shown["queries_variance"] == pytest.approx(-0.5, abs=0.02)
    assert shown["queries_convergence"] == pytest.approx(-0.02, abs=0.002)


def test_what_goes_the_other_way_is_not_supported():
    other_way = made(per_shot=-0.03, of_shots=0.3, of_queries=0.5, faster=0.02)
    assert set(verdicts(EXPERIMENT, other_way).values()) == {"not supported"}


def test_queries_that_are_shown_to_bring_nothing_are_not_supported():
    found = judged(made(faster=0.0))["queries_convergence"]
    assert found.interval.low < 0 < found.interval.high
    assert found.verdict == "not supported"


def test_what_noise_hides_and_a_single_seed_are_inconclusive():
    hidden = made(per_shot=0.0, of_shots=0.0, of_queries=0.0, faster=-0.005, noise=1.0)
    for frame in (hidden, made(seeds=1)):
        assert set(verdicts(EXPERIMENT, frame).values()) == {"inconclusive"}


def test_the_sweeps_do_not_mix():
    """Each holds the other number: a strong effect of queries is no effect of shots."""
    found = verdicts(EXPERIMENT, made(per_shot=0.0, of_shots=0.0, of_queries=-1.0, noise=0.001))
    assert found["queries_variance"] == "supported" and found["shots_variance"] != "supported"
    rows = pd.DataFrame(SIZES, columns=["shots", "queries"])
    assert set(sample_size.sweep(rows, "shots")["queries"]) == {5}
    assert sorted(sample_size.sweep(rows, "queries")["queries"]) == [1, 2, 5, 10]


def test_a_run_that_diverged_leaves_its_own_sweep_open():
    frame = made()
    one = (frame["kind"] == TRAINING) & (frame["shots"] == 10) & (frame["seed"] == 0)
    frame.loc[one & (frame["meta_step"] > 4), ["train_loss", "test_accuracy"]] = np.nan
    found = verdicts(EXPERIMENT, frame)
    assert found["shots_accuracy"] == "inconclusive"
    assert found["queries_convergence"] == "supported"


@pytest.mark.parametrize("kind", [TRAINING, VARIANCE])
def test_half_of_the_results_gives_half_of_the_verdicts(kind):
    half = made().query("kind == @kind")
    for key, verdict in verdicts(EXPERIMENT, half).items():
        ran = kind == (VARIANCE if key in {"shots_variance", "queries_variance"} else TRAINING)
        assert verdict == ("supported" if ran else "inconclusive")
    assert len(tables(EXPERIMENT, half)[0]) == len(SIZES)
    assert len(EXPERIMENT.pictures[0].panels(half)) == (1 if kind == VARIANCE else 2)


@pytest.mark.parametrize(("shots", "queries"), [(1, 5), (10, 5), (5, 1), (5, 10)])
def test_what_the_page_says_that_cells_share_is_what_tasks_share(shots, queries):
    """The same classes, each with its images in one order: the first are support, the next are queries."""

    def images_of_classes(shots, queries):
        inputs, _ = make_tasks([20] * 8, ways=5, shots=shots, queries=queries, seed=1).batch(3)
        parts = [np.asarray(inputs[name]) for name in ("support_images", "query_images")]
        return np.concatenate([part.reshape(len(part), 5, -1, 12) for part in parts], axis=2)

    usual, other = images_of_classes(5, 5), images_of_classes(shots, queries)
    count = min(usual.shape[2], other.shape[2])
    np.testing.assert_array_equal(usual[:, :, :count], other[:, :, :count])


@pytest.mark.parametrize("name", SCALES)
def test_cells_cross_in_one_and_are_evaluated_on_as_many_queries(name):
    scale = SCALES[name]
    cells = EXPERIMENT.cells(scale, Data("fc100"))
    runs = [cell.settings for cell in cells if cell.kind == TRAINING]
    assert len(set(cells)) == len(cells) == len(runs) + len(scale.seeds)
    assert {one["evaluation_queries"] for one in runs} == {scale.queries}
    sizes = [(one["shots"], one["queries"]) for one in runs]
    assert sizes.count((scale.shots, scale.queries)) == len(scale.seeds)
    measured = cells[0].settings["sizes"].split()
    assert sorted(measured) == sorted({f"1x{shots}x{queries}" for shots, queries in sizes})
