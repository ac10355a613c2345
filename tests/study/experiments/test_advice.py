"""The advice against a search by hand: the rule on made results, and the advised run itself."""

import numpy as np
import pandas as pd
import pytest

from anil_tf.study.claims import INCONCLUSIVE, NOT_SUPPORTED, SUPPORTED
from anil_tf.study.experiment import Data
from anil_tf.study.experiments import advice
from anil_tf.study.experiments.advice import ADVISED, BY_HAND, EXPERIMENT
from anil_tf.study.scale import SCALES
from tests.study.experiments.made_results import tables, verdicts

ADVISED_ACCURACY = 0.40


def made(ahead, *, noise=0.001, chosen=(0.05, 5), diverged=(), by_test=(0.25, 20)):
    """Results in which the advice is ahead of the pair that validation chooses by so many points.

    The pair `by_test` is far better on test classes, which must not choose.
    """
    rng = np.random.default_rng(0)
    rows = []
    for cell in EXPERIMENT.cells(SCALES["small"], Data("fc100")):
        settings = {key: value for key, value in cell.settings.items() if key != "data_dir"}
        is_advised = cell.kind == ADVISED
        pair = (settings.get("inner_step_size"), settings.get("inner_steps"))
        validation = 0.5 if pair == chosen else 0.45
        test = ADVISED_ACCURACY - ahead / 100 * (pair == chosen) + (pair == by_test) * 0.2
        own = {"alpha": 0.02 if is_advised else pair[0]}
        if is_advised:
            own |= {"advised_steps": 13, "advice_seconds": 3.0}
        for step in (0, 300):
            bad = pair in diverged and settings["seed"] == 4 and step > 0
            accuracy = {
                "validation_accuracy": validation + (pair in diverged) * 0.3,
                "test_accuracy": test + noise * rng.normal(),
            }
            if bad:
                accuracy = dict.fromkeys(accuracy, np.nan)
            measured = {"meta_step": step, "diverged": bad} | accuracy | own
            rows.append({"cell": cell.name, "kind": cell.kind} | settings | measured)
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("ahead", "noise", "verdict"),
    [
        (0.0, 0.001, SUPPORTED),
        (3.0, 0.001, SUPPORTED),
        (-0.5, 0.001, SUPPORTED),
        (-2.0, 0.001, NOT_SUPPORTED),
        (-0.5, 0.02, INCONCLUSIVE),
    ],
)
def test_the_verdict_is_the_one_that_was_made(ahead, noise, verdict):
    frame = made(ahead, noise=noise)
    assert verdicts(EXPERIMENT, frame) == {"as_good": verdict}
    if noise < 0.01:
        found = EXPERIMENT.claims[0].judge(frame).interval.center
        assert found == pytest.approx(ahead, abs=0.2)


def test_validation_chooses_and_a_pair_that_diverged_on_some_seed_is_out():
    frame = made(0.0, diverged=((0.01, 1),))
    assert advice.best_by_hand(advice.ends(frame, BY_HAND)) == (0.05, 5)
    everywhere = frame.assign(
        validation_accuracy=frame["validation_accuracy"].where(frame["seed"] > 4)
    )
    assert advice.best_by_hand(advice.ends(everywhere, BY_HAND)) is None
    assert verdicts(EXPERIMENT, everywhere) == {"as_good": INCONCLUSIVE}


def test_tables_show_every_pair_and_what_was_advised():
    every, told = tables(EXPERIMENT, made(0.0))
    assert list(every["inner loop"]) == ["advised", "by hand, chosen", *["by hand"] * 8]
    assert every["N"].iloc[0] == 13 and every["alpha"].iloc[0] == 0.02
    assert len(told) == 5 and set(told["N"]) == {13}


@pytest.mark.parametrize("name", SCALES)
def test_cells_of_a_seed_differ_by_the_inner_loop_alone(name):
    cells = EXPERIMENT.cells(SCALES[name], Data("omniglot"))
    seeds = {cell.settings["seed"] for cell in cells}
    assert len(seeds) == (2 if name == "smoke" else 5)
    own = {"seed", "inner_step_size", "inner_steps"}
    shared = {
        tuple(sorted((k, v) for k, v in cell.settings.items() if k not in own)) for cell in cells
    }
    assert len(shared) == 1
    advised = [cell for cell in cells if cell.kind == ADVISED]
    assert len(advised) == len(seeds)
    assert not own & {*advised[0].settings} - {"seed"}


def test_an_advised_run_trains_with_what_was_advised():
    (cell, *_) = EXPERIMENT.cells(SCALES["smoke"], Data("glyphs"))
    assert cell.kind == ADVISED
    rows = cell.run()
    assert [row["meta_step"] for row in rows] == [0, 4]
    last = rows[-1]
    assert 1 <= last["advised_steps"] <= 100 and 0 < last["alpha"] < 1
    assert last["advice_seconds"] > 0
    assert 0 <= last["validation_accuracy"] <= 1 and 0 <= last["test_accuracy"] <= 1
    by_number = {"inner_step_size": last["alpha"], "inner_steps": last["advised_steps"]}
    again = cell.function().__globals__["training"].run(dict(cell.settings) | by_number)
    for name in ("train_loss", "validation_loss", "test_loss"):
        assert again[-1][name] == pytest.approx(last[name], rel=1e-4)
