"""Shots and queries: the rules on made results in which the claims hold, fail, and cannot be seen."""

import numpy as np
import pandas as pd
import pytest

from anil_tf import episodes
from anil_tf.study import results
from anil_tf.study.experiment import Data
from anil_tf.study.experiments import sample_size
from anil_tf.study.scale import SCALES

STEPS = (0, 4, 16, 60)
KEYS = list(sample_size.RULES)
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
                row = {"kind": sample_size.VARIANCE, "seed": seed, "block": block}
                # The columns of the training that came before are there, too, and are not what was measured.
                rows.append(row | {"shots": 5, "queries": 5, "squared_norm": 0.1} | measured)
            height = 1.4 + faster * np.log2(queries) + 0.1 * noise * rng.normal()
            accuracy = 0.3 + per_shot * np.log2(shots) + 0.1 * noise * rng.normal()
            for step in STEPS:
                run = {"seed": seed, "shots": shots, "queries": queries, "meta_step": step}
                found = {"train_loss": height, "test_accuracy": accuracy * (step > 0)}
                rows.append({"kind": sample_size.TRAINING, "diverged": False} | run | found)
    return pd.DataFrame(rows)


def verdicts(frame):
    claims = sample_size.judge(frame)
    assert [claim.rule for claim in claims] == [rule.rule for rule in sample_size.RULES.values()]
    return dict(zip(KEYS, (claim.verdict for claim in claims), strict=True))


def test_what_holds_is_supported_and_the_slopes_are_those_that_were_made():
    frame = made()
    assert verdicts(frame) == dict.fromkeys(KEYS, "supported")
    shown = dict(zip(KEYS, (claim.statistic for claim in sample_size.judge(frame)), strict=True))
    assert shown["shots_accuracy"] == pytest.approx(3.0, abs=0.1)  # points, not fractions
    assert shown["shots_variance"] == pytest.approx(-0.3, abs=0.02)
    assert shown["queries_variance"] == pytest.approx(-0.5, abs=0.02)
    assert shown["queries_convergence"] == pytest.approx(-0.02, abs=0.002)


def test_what_goes_the_other_way_is_not_supported():
    other_way = made(per_shot=-0.03, of_shots=0.3, of_queries=0.5, faster=0.02)
    assert verdicts(other_way) == dict.fromkeys(KEYS, "not supported")


def test_queries_that_are_shown_to_bring_nothing_are_not_supported():
    claim = dict(zip(KEYS, sample_size.judge(made(faster=0.0)), strict=True))["queries_convergence"]
    assert claim.interval[0] < 0 < claim.interval[1]
    assert claim.verdict == "not supported"


def test_what_noise_hides_is_inconclusive():
    hidden = made(per_shot=0.0, of_shots=0.0, of_queries=0.0, faster=-0.005, noise=1.0)
    assert verdicts(hidden) == dict.fromkeys(KEYS, "inconclusive")


def test_one_seed_decides_nothing():
    assert verdicts(made(seeds=1)) == dict.fromkeys(KEYS, "inconclusive")


def test_the_sweeps_do_not_mix():
    """Each holds the other number: a strong effect of queries is no effect of shots."""
    found = verdicts(made(per_shot=0.0, of_shots=0.0, of_queries=-1.0, noise=0.001))
    assert found["queries_variance"] == "supported" and found["shots_variance"] != "supported"
    rows = pd.DataFrame(SIZES, columns=["shots", "queries"])
    assert set(sample_size.sweep(rows, "shots")["queries"]) == {5}
    assert sorted(sample_size.sweep(rows, "queries")["queries"]) == [1, 2, 5, 10]


def test_a_run_that_diverged_leaves_its_own_sweep_open():
    frame = made()
    one = (frame["kind"] == sample_size.TRAINING) & (frame["shots"] == 10) & (frame["seed"] == 0)
    frame.loc[one & (frame["meta_step"] > 4), ["train_loss", "test_accuracy"]] = np.nan
    found = verdicts(frame)
    assert found["shots_accuracy"] == "inconclusive"
    assert found["queries_convergence"] == "supported"


def test_nothing_at_all_is_inconclusive_and_draws_nothing(tmp_path):
    nothing = made().iloc[:0]
    assert verdicts(nothing) == dict.fromkeys(KEYS, "inconclusive")
    assert sample_size.EXPERIMENT.draw(nothing, tmp_path) == []
    assert sample_size.EXPERIMENT.tables(nothing) == []


@pytest.mark.parametrize("kind", [None, sample_size.TRAINING, sample_size.VARIANCE])
def test_pictures_and_tables_come_from_the_csv_and_from_half_of_it(tmp_path, kind):
    frame = made()
    results.write(frame if kind is None else frame[frame["kind"] == kind], tmp_path / "r.csv")
    read = results.read(tmp_path / "r.csv")
    (picture,) = sample_size.EXPERIMENT.draw(read, tmp_path)
    assert 0 < (tmp_path / picture.file).stat().st_size < 120_000
    (table,) = sample_size.EXPERIMENT.tables(read)
    assert table.frame[["shots", "queries"]].values.tolist() == [list(size) for size in SIZES]


@pytest.mark.parametrize(("shots", "queries"), [(1, 5), (10, 5), (5, 1), (5, 10)])
def test_what_the_page_says_that_cells_share_is_what_tasks_share(shots, queries):
    """The same classes, each with its images in one order: the first are support, the next are queries."""
    usual = episodes.load(
        "glyphs", split="train", ways=5, shots=5, queries=5, meta_batch_size=2, seed=1
    )
    other = usual.replace(shots=shots, queries=queries)
    (mine, _), (theirs, _) = usual.batch(3), other.batch(3)
    ours, others = (
        np.concatenate(
            [
                inputs[f"{part}_images"].numpy().reshape(2, 5, -1, *usual.image_shape)
                for part in ("support", "query")
            ],
            axis=2,
        )
        for inputs in (mine, theirs)
    )
    count = min(ours.shape[2], others.shape[2])
    np.testing.assert_array_equal(ours[:, :, :count], others[:, :, :count])


@pytest.mark.parametrize("name", SCALES)
def test_cells_cross_in_one_and_are_evaluated_on_as_many_queries(name):
    scale, data = SCALES[name], Data("fc100")
    cells = sample_size.EXPERIMENT.cells(scale, data)
    training = [cell for cell in cells if cell.kind == sample_size.TRAINING]
    assert len(set(cells)) == len(cells) == len(training) + len(scale.seeds)
    assert {cell.settings["evaluation_queries"] for cell in training} == {scale.queries}
    usual = [
        cell
        for cell in training
        if (cell.settings["shots"], cell.settings["queries"]) == (scale.shots, scale.queries)
    ]
    assert len(usual) == len(scale.seeds)
    sizes = cells[0].settings["sizes"].split()
    assert sorted(sizes) == sorted(
        {f"1x{cell.settings['shots']}x{cell.settings['queries']}" for cell in training}
    )
