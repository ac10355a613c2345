"""The sweep of B: its claims on made results in which they hold, fail, and cannot be seen."""

import numpy as np
import pandas as pd
import pytest

from anil_tf.study.experiment import Data
from anil_tf.study.experiments import batch_size
from anil_tf.study.experiments.batch_size import EXPERIMENT, TRAINING, VARIANCE
from anil_tf.study.scale import SCALES
from tests.study.experiments.made_results import tables, verdicts

SIZES = (1, 2, 4, 8, 16, 32)
STEPS = (0, 4, 16, 60)
OF_NOISE = {"variance_head", "variance_body"}


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
                rows.append({"kind": VARIANCE, "seed": seed} | measured | counted)
            shift = spread * rng.normal()
            for step in STEPS:
                value = loss(size) + shift + (np.log(5) - loss(size)) * np.exp(-step / 10)
                run = {"seed": seed, "meta_batch_size": size, "meta_step": step}
                found = {"train_loss": value, "test_accuracy": 0.3, "diverged": False}
                curved = {"smoothness_max": 40.0, "smoothness": {0: 40.0, 60: 30.0}.get(step)}
                rows.append({"kind": TRAINING} | run | found | curved)
    return pd.DataFrame(rows)


def judged(frame):
    return {one.key: one.judge(frame) for one in EXPERIMENT.claims}


def test_what_holds_is_supported():
    assert set(verdicts(EXPERIMENT, made()).values()) == {"supported"}


@pytest.mark.parametrize("exponent", [-0.7, -1.2, 0.0])
def test_another_power_of_the_batch_size_is_shown_and_not_supported(exponent):
    found = judged(made(exponent=exponent))
    for key in OF_NOISE:
        assert found[key].verdict == "not supported"
        assert found[key].interval.center == pytest.approx(exponent, abs=0.01)
        assert found[key].interval.low < exponent < found[key].interval.high


@pytest.mark.parametrize(
    ("loss", "convergence", "saturation"),
    [
        (lambda size: 1.2 + 0.02 * np.log2(size) ** 2, "not supported", "supported"),
        (lambda size: 1.4 - 0.006 * np.log2(size) ** 2, "supported", "not supported"),
        (lambda size: 1.4 - 0.03 * np.log2(size), "supported", "inconclusive"),
    ],
    ids=["slower", "gains grow", "gains stay"],
)
def test_convergence_and_saturation_are_told_apart(loss, convergence, saturation):
    found = verdicts(EXPERIMENT, made(loss=loss))
    assert (found["convergence"], found["saturation"]) == (convergence, saturation)


def test_what_noise_hides_and_a_single_seed_are_inconclusive():
    hidden = made(noise=2.0, loss=lambda size: 1.4, spread=0.3)
    for frame in (hidden, made(seeds=1)):
        assert set(verdicts(EXPERIMENT, frame).values()) == {"inconclusive"}


def test_a_run_that_diverged_or_is_missing_leaves_convergence_open():
    frame = made()
    one = (frame["kind"] == TRAINING) & (frame["seed"] == 1) & (frame["meta_batch_size"] == 1)
    diverged = frame.copy()
    diverged.loc[one & (frame["meta_step"] > 4), "train_loss"] = np.nan
    for lamed in (diverged, frame[~one]):
        found = verdicts(EXPERIMENT, lamed)
        assert found["convergence"] == found["saturation"] == "inconclusive"
        assert {found[key] for key in OF_NOISE} == {"supported"}


def test_doublings_are_compared_as_many_on_either_side():
    heights = dict(zip(SIZES, [5.0, 4.0, 3.5, 3.2, 3.1, 3.05], strict=True))
    frame = made(loss=heights.get, spread=0.0)
    frame["train_loss"] = frame["meta_batch_size"].map(heights)  # at every meta-step
    assert batch_size.saturation(frame).center == pytest.approx(1.5 - 0.15)
    assert np.isnan(batch_size.saturation(frame[frame["meta_batch_size"] != 4]).center)


@pytest.mark.parametrize("kind", [TRAINING, VARIANCE])
def test_half_of_the_results_gives_half_of_the_verdicts(kind):
    half = made().query("kind == @kind")
    for key, verdict in verdicts(EXPERIMENT, half).items():
        ran = kind == (VARIANCE if key in OF_NOISE else TRAINING)
        assert verdict == ("supported" if ran else "inconclusive")
    assert len(tables(EXPERIMENT, half)) == 1
    assert len(EXPERIMENT.pictures[0].panels(half)) == (1 if kind == VARIANCE else 2)


def test_the_tables_say_where_noise_and_signal_are_of_one_size_and_alpha_beside_the_curvature():
    noise, end = tables(EXPERIMENT, made())
    assert [one.center for one in noise["B_noise"]] == pytest.approx([20, 20], rel=0.02)
    assert set(end["alpha"]) == {0.05}
    assert [one.center for one in end["2/L at the start"]] == pytest.approx([2 / 40] * len(SIZES))
    assert [one.center for one in end["L at the end"]] == pytest.approx([30.0] * len(SIZES))


@pytest.mark.parametrize(("name", "meta_steps"), [("small", 120), ("long", 400), ("full", 1000)])
def test_cells_are_a_run_for_each_size_and_seed_and_one_variance_for_each_seed(name, meta_steps):
    scale = SCALES[name]
    cells = EXPERIMENT.cells(scale, Data("fc100"))
    assert len(set(cells)) == len(cells) == len(scale.seeds) * (1 + len(scale.meta_batch_sizes))
    runs = [cell.settings for cell in cells if cell.kind == TRAINING]
    assert {one["meta_steps"] for one in runs} == {meta_steps}  # a large batch has time to show
    variance = next(cell for cell in cells if cell.kind == VARIANCE)
    assert len(variance.settings["sizes"].split()) == len(scale.meta_batch_sizes)
