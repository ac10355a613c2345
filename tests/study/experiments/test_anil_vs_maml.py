"""ANIL beside MAML: the rules on made results in which the claims hold, fail, and cannot be seen."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from anil_tf.study import results
from anil_tf.study.experiment import Data
from anil_tf.study.experiments import anil_vs_maml
from anil_tf.study.scale import SCALES
from anil_tf.theory import complexity

KEYS = list(anil_vs_maml.RULES)
ANIL_STEPS, MAML_STEPS = (0, 100, 300, 1000), (0, 20, 100)
HEAD, BODY, TASKS = 645, 28_000, 4
WORST = ("seconds_per_meta_step", 10)
MODEL = {1: 2.0, 5: 8.0, 10: 15.5}


def cost_rows(ratios, seed, noise, rng, anil_seconds):
    for steps, ratio in ratios.items():
        for method in complexity.METHODS:
            engine = {"anil": "explicit", "maml": "unrolled"}[method]
            counts = complexity.formula(method, steps, engine=engine, support=25, queries=25)
            factor = (ratio if method == "maml" else 1.0) * np.exp(noise * rng.normal())
            yield {
                "kind": anil_vs_maml.COST,
                "seed": seed,
                "method": method,
                "inner_steps": steps,
                "adapted_layers": 1 if method == "anil" else "all",
                "head_parameters": HEAD if method == "anil" else HEAD + BODY,
                "body_parameters": BODY if method == "anil" else 0,
                "seconds_per_meta_step": anil_seconds * factor,
                "seconds_per_adaptation": 0.2 * anil_seconds * factor,
                **dataclasses.asdict(counts),
            }


def made(ratios=MODEL, gain=0.04, noise=0.01, seeds=3, anil_seconds=0.05, behind=0.0, draw=0):
    """Results with these ratios of time.

    Both methods learn alike per meta-step, `gain` of accuracy to step 100 and as much to step 300, no more from there
    on, and ANIL stays `behind` from the first checkpoint on.
    """
    rng = np.random.default_rng(draw)
    rows = []
    for seed in range(seeds):
        rows += cost_rows(ratios, seed, noise, rng, anil_seconds)
        for layers, steps in ((1, ANIL_STEPS), ("all", MAML_STEPS)):
            for step in steps:
                lag = behind * (layers == 1) * (step > 0)
                learned = np.interp(step, [0, 100, 300], [0, gain, 2 * gain]) - lag
                learned += 0.2 * noise * rng.normal() * (step > 0)
                found = {"test_accuracy": 0.3 + learned, "test_loss": 1.55 - 2 * learned}
                run = {"seed": seed, "adapted_layers": layers, "inner_steps": 5, "meta_step": step}
                sizes = {"meta_batch_size": TASKS, "diverged": False, "train_loss": 1.5 - learned}
                rows.append({"kind": anil_vs_maml.TRAINING} | run | sizes | found)
    return pd.DataFrame(rows)


def claims(frame):
    found = anil_vs_maml.judge(frame)
    assert [claim.rule for claim in found] == [rule.rule for rule in anil_vs_maml.RULES.values()]
    return dict(zip(KEYS, found, strict=True))


def verdicts(frame):
    return {key: claim.verdict for key, claim in claims(frame).items()}


def test_what_holds_is_supported():
    assert verdicts(made()) == dict.fromkeys(KEYS, "supported")


def test_the_numbers_shown_are_those_that_were_made():
    found = claims(made(noise=1e-4))
    assert found["training"].statistic == pytest.approx(8.0, rel=1e-2)
    assert found["flop_model"].statistic == pytest.approx(1.0, rel=1e-2)
    assert found["accuracy"].statistic == pytest.approx(0.0, abs=0.05)
    # 100 meta-steps of MAML take as long as 800 of ANIL, which has learned `gain` more by then.
    assert found["accuracy_in_time"].statistic == pytest.approx(4.0, abs=0.05)
    # ANIL's 1000 evaluate as many entries as 22.5 of MAML: compared at 20, where MAML has a fifth of the first `gain`.
    assert found["second_order"].statistic == pytest.approx(-2 * (0.08 - 0.008), abs=0.005)


def test_a_small_saving_does_not_support_the_published_one():
    found = verdicts(made(ratios={1: 1.1, 5: 1.5, 10: 2.0}))
    assert found["training"] == found["adaptation"] == found["flop_model"] == "not supported"


def test_a_ratio_between_the_published_two_supports_one_of_them():
    found = verdicts(made(ratios={1: 2.0, 5: 3.0, 10: 4.0}))
    assert (found["training"], found["adaptation"]) == ("supported", "not supported")


def test_one_wrong_ratio_is_enough_against_the_model():
    found = claims(made(ratios=MODEL | {10: 31.0}))
    assert found["flop_model"].verdict == "not supported"
    assert found["flop_model"].statistic == pytest.approx(2.0, rel=0.05)


def test_maml_that_is_more_accurate_by_far_speaks_against_anil():
    found = verdicts(made(behind=0.1))
    assert found["accuracy"] == "not supported"
    assert found["accuracy_in_time"] == "not supported"
    assert found["second_order"] == "not supported"


def test_a_loss_within_the_margin_is_still_as_accurate():
    found = claims(made(behind=0.01))
    assert found["accuracy"].statistic == pytest.approx(-1.0, abs=0.3)
    assert found["accuracy"].verdict == "supported"


def test_the_accuracies_are_those_of_one_meta_step_and_not_of_a_line_between_two():
    frame = made()
    between = (frame["adapted_layers"] == 1) & (frame["meta_step"] == 100)
    assert verdicts(frame[~between])["accuracy"] == "inconclusive"


def test_anil_that_is_over_too_soon_cannot_be_compared_and_the_reason_is_given():
    frame = made()
    found = claims(frame[~((frame["adapted_layers"] == 1) & (frame["meta_step"] > 100))])
    for key in ("accuracy_in_time", "second_order"):
        assert found[key].verdict == "inconclusive" and "is over before" in found[key].reason
    assert found["accuracy"].verdict == "supported"
    assert not any(claim.reason for claim in claims(frame).values())


def test_the_table_shows_every_n_beside_the_published_number():
    shown = anil_vs_maml.EXPERIMENT.tables(made(noise=1e-4))[0].frame
    assert shown["N"].tolist() == [1, 5, 10] * 2
    parts = [one.center for one in shown["measured / published"]]
    expected = [ratio / published for published in (1.7, 4.1) for ratio in MODEL.values()]
    assert parts == pytest.approx(expected, rel=0.01)


def test_in_equal_time_a_slower_anil_is_not_ahead():
    """Were MAML as fast per meta-step, equal seconds would be equal meta-steps."""
    found = claims(made(ratios=dict.fromkeys(MODEL, 1.0), behind=0.02))
    assert found["accuracy_in_time"].statistic == pytest.approx(-2.0, abs=0.5)
    assert found["accuracy_in_time"].verdict == "not supported"


def test_the_intervals_of_the_model_hold_together():
    found = claims(made(ratios=MODEL | {10: 31.0}))["flop_model"]
    alone = anil_vs_maml.ratio(anil_vs_maml.costs(made(ratios=MODEL | {10: 31.0})), *WORST)
    assert found.interval[0] < alone.low / 15.5 and found.interval[1] > alone.high / 15.5


def test_what_noise_hides_is_inconclusive():
    found = verdicts(made(ratios={1: 2.0, 5: 2.6, 10: 4.0}, noise=0.8, gain=0.0, draw=2))
    assert found == dict.fromkeys(KEYS, "inconclusive")


def test_one_seed_decides_nothing():
    assert verdicts(made(seeds=1)) == dict.fromkeys(KEYS, "inconclusive")


@pytest.mark.parametrize("layers", [1, "all"])
def test_a_run_that_diverged_or_is_missing_leaves_accuracy_open(layers):
    frame = made()
    one = (frame["kind"] == anil_vs_maml.TRAINING) & (frame["seed"] == 1)
    one &= frame["adapted_layers"] == layers
    diverged = frame.copy()
    diverged.loc[one & (frame["meta_step"] > 0), ["test_accuracy", "test_loss"]] = np.nan
    for lamed in (diverged, frame[~one]):
        found = verdicts(lamed)
        of_training = ("accuracy", "accuracy_in_time", "second_order")
        assert {found[key] for key in of_training} == {"inconclusive"}
        assert found["training"] == "supported"


def test_entries_are_those_of_the_papers_comparison():
    cost = anil_vs_maml.costs(made())
    steps, whole = 5, HEAD + BODY
    five = cost[(cost["inner_steps"] == steps) & (cost["seed"] == 0)].set_index("method")
    gradients, second = five["gradient_entries"], five["second_order_entries"]
    assert gradients["anil"] == (steps + 1) * HEAD + BODY
    assert gradients["maml"] == (steps + 1) * whole
    assert second["anil"] == steps * HEAD * whole
    assert second["maml"] == steps * whole**2


def test_the_model_is_the_formula():
    cost = anil_vs_maml.costs(made())
    for steps, expected in MODEL.items():
        assert anil_vs_maml.model_ratio(cost, steps) == pytest.approx(expected)
        assert complexity.flop_ratio(steps, 25, 25) == pytest.approx(expected)


def test_nothing_at_all_is_inconclusive_and_draws_nothing(tmp_path):
    nothing = made().iloc[:0]
    assert verdicts(nothing) == dict.fromkeys(KEYS, "inconclusive")
    assert anil_vs_maml.EXPERIMENT.draw(nothing, tmp_path) == []
    assert anil_vs_maml.EXPERIMENT.tables(nothing) == []


@pytest.mark.parametrize("kind", [None, anil_vs_maml.TRAINING, anil_vs_maml.COST])
def test_verdicts_pictures_and_tables_come_from_the_csv_and_from_half_of_it(tmp_path, kind):
    frame = made()
    frame = frame if kind is None else frame[frame["kind"] == kind]
    results.write(frame, tmp_path / "r.csv")
    read = results.read(tmp_path / "r.csv")
    assert verdicts(read) == verdicts(frame)
    pictures = anil_vs_maml.EXPERIMENT.draw(read, tmp_path)
    assert len(pictures) == (2 if kind is None else 1)
    for picture in pictures:
        assert 0 < (tmp_path / picture.file).stat().st_size < 120_000
    tables = anil_vs_maml.EXPERIMENT.tables(read)
    assert len(tables) == {None: 3, anil_vs_maml.TRAINING: 1, anil_vs_maml.COST: 2}[kind]
    assert all(len(table.frame) for table in tables)


@pytest.mark.parametrize("name", SCALES)
def test_cells_differ_by_the_method_alone_and_what_is_timed_runs_alone(name):
    scale = SCALES[name]
    cells = anil_vs_maml.EXPERIMENT.cells(scale, Data("fc100"))
    training = [cell.settings for cell in cells if cell.kind == anil_vs_maml.TRAINING]
    timed = [cell for cell in cells if cell.kind == anil_vs_maml.COST]
    assert len(training) == 2 * (1 if name == "smoke" else len(scale.seeds))
    assert len(timed) == (1 if name == "smoke" else 3)
    assert all(cell.alone for cell in timed)
    assert "5" in timed[0].settings["compared_inner_steps"].split()
    own = {"adapted_layers", "differentiation", "meta_steps", "checkpoints", "extra_checkpoint"}
    own.add("seed")
    shared = {
        tuple((key, value) for key, value in settings.items() if key not in own)
        for settings in training
    }
    assert len(shared) == 1
    assert {(s["adapted_layers"], s["differentiation"]) for s in training} == {
        (1, "explicit"),
        ("all", "unrolled"),
    }
    anil, maml = (
        next(s for s in training if s["adapted_layers"] == layers) for layers in (1, "all")
    )
    assert anil["extra_checkpoint"] == maml["meta_steps"] == scale.maml_meta_steps
    assert anil["meta_steps"] >= anil_vs_maml.LONGER * maml["meta_steps"]
    least = {"smoke": 2, "small": 160, "long": 160, "full": 600}
    assert anil["evaluation_tasks"] == least[name]
    assert anil["evaluation_train_tasks"] == scale.evaluation_tasks
