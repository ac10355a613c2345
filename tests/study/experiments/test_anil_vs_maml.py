"""ANIL beside MAML: the claims on made results in which they hold, fail, and cannot be seen."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from anil_tf.study.experiment import Data
from anil_tf.study.experiments import anil_vs_maml
from anil_tf.study.experiments.anil_vs_maml import COST, EXPERIMENT, TRAINING
from anil_tf.study.scale import SCALES
from anil_tf.theory import complexity
from tests.study.experiments.made_results import reasons, tables, verdicts

ANIL_STEPS, MAML_STEPS = (0, 100, 300, 1000), (0, 20, 100)
HEAD, BODY, TASKS = 645, 28_000, 4
MODEL = {1: 2.0, 5: 8.0, 10: 15.5}
OF_COST = {"training", "adaptation", "flop_model"}
OF_TRAINING = {"accuracy", "accuracy_in_time", "second_order"}


def cost_rows(ratios, seed, noise, rng):
    for steps, ratio in ratios.items():
        for method in complexity.METHODS:
            engine = {"anil": "explicit", "maml": "unrolled"}[method]
            counts = complexity.formula(method, steps, engine=engine, support=25, queries=25)
            seconds = 0.05 * (ratio if method == "maml" else 1.0) * np.exp(noise * rng.normal())
            yield {
                "kind": COST,
                "seed": seed,
                "method": method,
                "inner_steps": steps,
                "head_parameters": HEAD if method == "anil" else HEAD + BODY,
                "body_parameters": BODY if method == "anil" else 0,
                "seconds_per_meta_step": seconds,
                "seconds_per_adaptation": 0.2 * seconds,
                **dataclasses.asdict(counts),
            }


def made(ratios=MODEL, gain=0.04, noise=0.01, seeds=3, behind=0.0, draw=0):
    """Results with these ratios of time.

    Both methods learn alike per meta-step, `gain` of accuracy to step 100 and as much to step 300, no more from there
    on, and ANIL stays `behind` from the first checkpoint on.
    """
    rng = np.random.default_rng(draw)
    rows = []
    for seed in range(seeds):
        rows += cost_rows(ratios, seed, noise, rng)
        for layers, steps in ((1, ANIL_STEPS), ("all", MAML_STEPS)):
            for step in steps:
                lag = behind * (layers == 1) * (step > 0)
                learned = np.interp(step, [0, 100, 300], [0, gain, 2 * gain]) - lag
                learned += 0.2 * noise * rng.normal() * (step > 0)
                found = {"test_accuracy": 0.3 + learned, "test_loss": 1.55 - 2 * learned}
                run = {"seed": seed, "adapted_layers": layers, "inner_steps": 5, "meta_step": step}
                sizes = {"meta_batch_size": TASKS, "diverged": False, "train_loss": 1.5 - learned}
                rows.append({"kind": TRAINING} | run | sizes | found)
    return pd.DataFrame(rows)


def judged(frame):
    return {one.key: one.judge(frame) for one in EXPERIMENT.claims}


def courses(**changes):
    return anil_vs_maml.courses(made(noise=0.0, **changes))


def test_what_holds_is_supported_and_the_numbers_are_those_that_were_made():
    assert set(verdicts(EXPERIMENT, made()).values()) == {"supported"}
    found = {key: outcome.interval.center for key, outcome in judged(made(noise=1e-4)).items()}
    assert found["training"] == pytest.approx(8.0, rel=1e-2)
    assert found["flop_model"] == pytest.approx(1.0, rel=1e-2)
    assert found["accuracy"] == pytest.approx(0.0, abs=0.05)
    # 100 meta-steps of MAML take as long as 800 of ANIL, which has learned `gain` more by then.
    assert found["accuracy_in_time"] == pytest.approx(4.0, abs=0.05)
    # ANIL's 1000 evaluate as many entries as 22.5 of MAML: compared at 20, where MAML has a fifth of the first `gain`.
    assert found["second_order"] == pytest.approx(-2 * (0.08 - 0.008), abs=0.005)


@pytest.mark.parametrize(("ratio", "training"), [(1.5, "not supported"), (3.0, "supported")])
def test_each_published_ratio_is_judged_by_itself(ratio, training):
    found = verdicts(EXPERIMENT, made(ratios={1: 2.0, 5: ratio, 10: 4.0}))
    assert (found["training"], found["adaptation"]) == (training, "not supported")
    assert found["flop_model"] == "not supported"


def test_one_wrong_ratio_is_enough_against_the_model_and_its_interval_is_joint():
    frame = made(ratios=MODEL | {10: 31.0})
    found = judged(frame)["flop_model"]
    assert found.verdict == "not supported"
    assert found.interval.center == pytest.approx(2.0, rel=0.05)
    ten = anil_vs_maml.costs(frame).query("inner_steps == 10")
    alone = anil_vs_maml.ratio(ten, "seconds_per_meta_step")
    assert found.interval.low < alone.low / 15.5 and found.interval.high > alone.high / 15.5


def test_accuracy_may_be_behind_by_the_margin_and_no_more():
    assert verdicts(EXPERIMENT, made(behind=0.01))["accuracy"] == "supported"
    far = verdicts(EXPERIMENT, made(behind=0.1))
    assert {far[key] for key in OF_TRAINING} == {"not supported"}


def test_what_noise_hides_and_a_single_seed_are_inconclusive():
    noisy = made(ratios={1: 2.0, 5: 2.6, 10: 4.0}, noise=0.8, gain=0.0, draw=2)
    for frame in (noisy, made(seeds=1)):
        assert set(verdicts(EXPERIMENT, frame).values()) == {"inconclusive"}


@pytest.mark.parametrize("layers", [1, "all"])
def test_a_run_that_diverged_or_is_missing_leaves_accuracy_open(layers):
    frame = made()
    one = (frame["kind"] == TRAINING) & (frame["seed"] == 1) & (frame["adapted_layers"] == layers)
    diverged = frame.copy()
    diverged.loc[one & (frame["meta_step"] > 0), ["test_accuracy", "test_loss"]] = np.nan
    for lamed in (diverged, frame[~one]):
        found = verdicts(EXPERIMENT, lamed)
        assert {found[key] for key in OF_TRAINING} == {"inconclusive"}
        assert {found[key] for key in OF_COST} == {"supported"}


def test_the_accuracies_are_those_of_one_meta_step_and_not_of_a_line_between_two():
    frame = made()
    between = (frame["adapted_layers"] == 1) & (frame["meta_step"] == 100)
    assert verdicts(EXPERIMENT, frame[~between])["accuracy"] == "inconclusive"


def test_anil_that_is_over_too_soon_cannot_be_compared_and_the_reason_is_given():
    frame = made()
    found = judged(frame[~((frame["adapted_layers"] == 1) & (frame["meta_step"] > 100))])
    for key in ("accuracy_in_time", "second_order"):
        assert found[key].verdict == "inconclusive" and "is over before" in found[key].reason
    assert found["accuracy"].verdict == "supported"
    assert reasons(EXPERIMENT, frame) == {}


def test_they_meet_at_the_last_checkpoint_of_maml_that_anil_can_afford():
    rows = courses()
    assert anil_vs_maml.meeting_point(rows, "seconds") == 100  # 800 of ANIL's 1000
    assert anil_vs_maml.meeting_point(rows, "second_order_entries") == 20
    assert anil_vs_maml.meeting_point(courses(ratios={5: 11.0}), "seconds") == 20
    assert anil_vs_maml.meeting_point(courses(ratios={5: 60.0}), "seconds") == 0
    for unknown in (rows.assign(seconds=np.nan), rows[rows["method"] == "ANIL"], rows.iloc[:0]):
        assert anil_vs_maml.meeting_point(unknown, "seconds") is None


def test_anil_between_its_checkpoints_is_on_a_straight_line():
    """MAML's 20 meta-steps take as long as 160 of ANIL: 3/10 of the way from 100 to 300."""
    frame = made(noise=0.0)
    short = frame[(frame["adapted_layers"] != "all") | (frame["meta_step"] <= 20)]
    found = anil_vs_maml.at_equal_expense(short, "seconds", "accuracy")
    assert found.center == pytest.approx(4 * (1 + 0.3) - 0.2 * 4)


def test_entries_are_those_of_the_papers_comparison():
    cost = anil_vs_maml.costs(made()).query("inner_steps == 5 and seed == 0").set_index("method")
    gradients, second, whole = cost["gradient_entries"], cost["second_order_entries"], HEAD + BODY
    assert gradients.to_dict() == {"ANIL": 6 * HEAD + BODY, "MAML": 6 * whole}
    assert second.to_dict() == {"ANIL": 5 * HEAD * whole, "MAML": 5 * whole**2}
    # Both need 100 meta-steps to the same loss, so what is left is what each of them evaluates.
    spent = anil_vs_maml.expense_of_equal_loss(courses(), "second_order_entries")
    assert spent.center == pytest.approx(HEAD / whole)


@pytest.mark.parametrize(("kind", "known"), [(COST, OF_COST), (TRAINING, {"accuracy"})])
def test_half_of_the_results_gives_what_it_can(kind, known):
    half = made().query("kind == @kind")
    found = verdicts(EXPERIMENT, half)
    assert {key for key, verdict in found.items() if verdict == "supported"} == known
    assert {found[key] for key in found if key not in known} == {"inconclusive"}
    assert len(tables(EXPERIMENT, half)) == {COST: 2, TRAINING: 1}[kind]
    assert sum(bool(picture.panels(half)) for picture in EXPERIMENT.pictures) == 1


def test_the_table_shows_every_n_beside_the_published_number():
    shown = anil_vs_maml.ratio_table(made(noise=1e-4)).frame
    assert shown["N"].tolist() == [1, 5, 10] * 2
    assert shown["FLOP model"].tolist() == pytest.approx([*MODEL.values()] * 2)
    parts = [one.center for one in shown["measured / published"]]
    expected = [ratio / published for published in (1.7, 4.1) for ratio in MODEL.values()]
    assert parts == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("name", SCALES)
def test_cells_differ_by_the_method_alone_and_what_is_timed_runs_alone(name):
    scale = SCALES[name]
    cells = EXPERIMENT.cells(scale, Data("fc100"))
    timed = [cell for cell in cells if cell.kind == COST]
    assert all(cell.alone for cell in timed)
    assert "5" in timed[0].settings["compared_inner_steps"].split()
    maml, anil = (
        next(cell.settings for cell in cells if cell.settings.get("adapted_layers") == layers)
        for layers in ("all", 1)
    )
    different = {key for key in anil if anil[key] != maml.get(key)}
    assert different - {"checkpoints"} == {
        *("adapted_layers", "differentiation", "meta_steps", "extra_checkpoint")
    }
    assert anil["extra_checkpoint"] == maml["meta_steps"] == scale.maml_meta_steps
    assert anil["meta_steps"] >= anil_vs_maml.LONGER * maml["meta_steps"]
