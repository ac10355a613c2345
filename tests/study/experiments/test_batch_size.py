"""The sweep of B: its rules on made results in which the claims hold, fail, and cannot be seen."""

import numpy as np
import pandas as pd
import pytest

from anil_tf.study import results
from anil_tf.study.experiment import Data
from anil_tf.study.experiments import batch_size
from anil_tf.study.scale import SCALES

SIZES = (1, 2, 4, 8, 16, 32)
STEPS = (0, 4, 16, 60)
KEYS = list(batch_size.RULES)


def made(exponent=-1.0, noise=0.01, loss=lambda size: 1.2 + 0.3 / size, spread=0.002, seeds=3):
    """Results in which the variance goes as B^exponent, and the loss falls from chance towards loss(B)."""
    rng = np.random.default_rng(0)
    rows = []
    for seed in range(seeds):
        for size in SIZES:
            for block, one in (("head", 0.5), ("body", 20.0)):
                variance = one * size**exponent * np.exp(noise * rng.normal())
                measured = {"block": block, "measured_batch_size": size, "variance": variance}
                counted = {"squared_norm": 0.05 * one, "parameters": 165}
                rows.append({"kind": batch_size.VARIANCE, "seed": seed} | measured | counted)
            shift = spread * rng.normal()
            for step in STEPS:
                value = loss(size) + shift + (np.log(5) - loss(size)) * np.exp(-step / 10)
                run = {"seed": seed, "meta_batch_size": size, "meta_step": step}
                found = {"train_loss": value, "test_accuracy": 0.3, "diverged": False}
                curved = {"smoothness_max": 40.0, "smoothness": {0: 40.0, 60: 30.0}.get(step)}
                rows.append({"kind": batch_size.TRAINING} | run | found | curved)
    return pd.DataFrame(rows)


def verdicts(frame):
    claims = batch_size.judge(frame)
    assert [claim.rule for claim in claims] == [rule.rule for rule in batch_size.RULES.values()]
    return dict(zip(KEYS, (claim.verdict for claim in claims), strict=True))


def test_what_holds_is_supported():
    assert verdicts(made()) == dict.fromkeys(KEYS, "supported")


@pytest.mark.parametrize("exponent", [-0.5, -0.8, -1.2, 0.0])
def test_another_power_of_the_batch_size_is_not_supported(exponent):
    found = verdicts(made(exponent=exponent))
    assert found["variance_head"] == found["variance_body"] == "not supported"


def test_the_exponent_that_is_shown_is_the_one_that_was_made():
    claim = batch_size.judge(made(exponent=-0.7))[0]
    assert claim.statistic == pytest.approx(-0.7, abs=0.01)
    assert claim.interval[0] < -0.7 < claim.interval[1] and claim.seeds == 3


def test_convergence_that_slows_with_the_batch_is_not_supported():
    found = verdicts(made(loss=lambda size: 1.2 + 0.02 * np.log2(size)))
    assert found["convergence"] == "not supported"


def test_gains_that_grow_are_not_supported_as_shrinking():
    assert verdicts(made(loss=lambda size: 1.4 - 0.01 * size))["saturation"] == "not supported"


def test_what_noise_hides_is_inconclusive():
    found = verdicts(made(noise=1.0, loss=lambda size: 1.3, spread=0.1))
    assert found == dict.fromkeys(KEYS, "inconclusive")


def test_one_seed_decides_nothing():
    assert verdicts(made(seeds=1)) == dict.fromkeys(KEYS, "inconclusive")


def test_a_run_that_diverged_or_is_missing_leaves_convergence_open():
    frame = made()
    training = frame["kind"] == batch_size.TRAINING
    one = training & (frame["seed"] == 1) & (frame["meta_batch_size"] == 1)
    diverged = frame.copy()
    diverged.loc[one & (frame["meta_step"] > 4), "train_loss"] = np.nan
    for lamed in (diverged, frame[~one]):
        found = verdicts(lamed)
        assert found["convergence"] == found["saturation"] == "inconclusive"
        assert found["variance_head"] == "supported"


def test_doublings_are_compared_as_many_on_either_side():
    height = np.array([[5.0, 4.0, 3.5, 3.2, 3.1, 3.05]])
    both = np.concatenate([height, height])
    assert batch_size.saturation(np.array(SIZES), both).center == pytest.approx(1.5 - 0.15)
    assert np.isnan(batch_size.saturation(np.array([1, 2, 8]), both[:, :3]).center)


def test_nothing_at_all_is_inconclusive_and_draws_nothing(tmp_path):
    nothing = made().iloc[:0]
    assert verdicts(nothing) == dict.fromkeys(KEYS, "inconclusive")
    assert batch_size.EXPERIMENT.draw(nothing, tmp_path) == []
    assert batch_size.EXPERIMENT.tables(nothing) == []


@pytest.mark.parametrize("kind", [None, batch_size.TRAINING, batch_size.VARIANCE])
def test_pictures_and_tables_come_from_the_csv_and_from_half_of_it(tmp_path, kind):
    frame = made()
    results.write(frame if kind is None else frame[frame["kind"] == kind], tmp_path / "r.csv")
    read = results.read(tmp_path / "r.csv")
    (picture,) = batch_size.EXPERIMENT.draw(read, tmp_path)
    assert 0 < (tmp_path / picture.file).stat().st_size < 120_000
    tables = batch_size.EXPERIMENT.tables(read)
    assert len(tables) == (2 if kind is None else 1)
    assert all(len(table.frame) for table in tables)


def test_the_noise_table_says_where_noise_and_signal_are_of_one_size():
    noise = batch_size.EXPERIMENT.tables(made())[0].frame
    assert noise["B_noise"].map(lambda one: one.center).tolist() == pytest.approx(
        [20, 20], rel=0.02
    )


def test_the_end_table_shows_alpha_beside_the_curvature():
    end = batch_size.EXPERIMENT.tables(made())[1].frame
    assert set(end["alpha"]) == {0.05}
    assert [one.center for one in end["2/L at the start"]] == pytest.approx([2 / 40] * len(SIZES))
    assert [one.center for one in end["L at the end"]] == pytest.approx([30.0] * len(SIZES))


@pytest.mark.parametrize(("name", "steps"), [("small", 120), ("long", 400), ("full", 1000)])
def test_runs_are_long_enough_for_a_large_batch_to_show(name, steps):
    assert batch_size.run_length(SCALES[name]) == steps


@pytest.mark.parametrize("name", SCALES)
def test_cells_are_a_run_for_each_size_and_seed_and_one_variance_for_each_seed(name):
    scale = SCALES[name]
    cells = batch_size.EXPERIMENT.cells(scale, Data("fc100"))
    assert len(set(cells)) == len(cells) == len(scale.seeds) * (1 + len(scale.meta_batch_sizes))
    variance = [cell for cell in cells if cell.kind == batch_size.VARIANCE]
    assert {cell.settings["seed"] for cell in variance} == set(scale.seeds)
    assert len(variance[0].settings["sizes"].split()) == len(scale.meta_batch_sizes)
    assert not any(cell.alone for cell in cells)
