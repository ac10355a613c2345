"""The oracles without any process around them: proposals, budget, memory, lost workers."""

import json
import pathlib

import pytest
from keras_tuner.src.engine.trial import TrialStatus

from anil_tf.tuning import oracles
from anil_tf.tuning.search_space import Choice, Interval, SearchSpace

SPACE = SearchSpace(
    [
        Interval("inner_step_size", 0.01, 1.0),
        Interval("inner_steps", 1, 20, whole=True),
        Choice("first_order", (False, True)),
    ]
)
FIRST = {"inner_step_size": 0.123456, "inner_steps": 5, "first_order": False}


def made(folder, tuner="random", *, space=SPACE, trials=5, **options):
    """An oracle that keeps its files in a folder."""
    oracles.mend_keras_tuner()
    options = {"epochs": 9, "first": FIRST} | options
    oracle = oracles.make(tuner, space, budget=oracles.Budget(trials=trials), **options)
    oracle._set_project_dir(str(folder), "search")
    return oracle


def end(oracle, trial, accuracy=0.5, status=TrialStatus.COMPLETED):
    """Ends a trial as a tuner does."""
    if status == TrialStatus.COMPLETED:
        metrics = {"accuracy": accuracy, "ci95": 0.01, "diverged": 0.0, "epochs": 1, "seconds": 1}
        oracle.update_trial(trial.trial_id, metrics)
    trial.status = status
    oracle.end_trial(trial)


def run_all(oracle):
    """Runs trials until there are no more; returns their values."""
    values = []
    while (trial := oracle.create_trial("tuner0")).status != TrialStatus.STOPPED:
        values.append(trial.hyperparameters.values)
        end(oracle, trial, accuracy=SPACE.plain(values[-1])["inner_step_size"])
    return values


@pytest.mark.parametrize("tuner", oracles.TUNERS)
def test_a_search_begins_with_the_given_setting_and_keeps_its_budget(tmp_path, tuner):
    values = run_all(made(tmp_path, tuner))
    assert len(values) == 5
    plain = [SPACE.plain(each) for each in values]
    assert plain[0] == {"inner_step_size": 0.123, "inner_steps": 5, "first_order": False}
    assert all(SPACE.holds(each) for each in plain)
    digits = [f"{each['inner_step_size']:.3g}" for each in values]
    assert [float(number) for number in digits] == [each["inner_step_size"] for each in values]


@pytest.mark.parametrize("seed", [0, 1])
def test_a_seed_gives_the_same_proposals(tmp_path, seed):
    first, again = (run_all(made(tmp_path / name, seed=seed)) for name in "ab")
    assert first == again
    assert first[1:] != run_all(made(tmp_path / "c", seed=seed + 1))[1:]


def test_a_first_setting_outside_of_the_space_is_no_trial(tmp_path):
    values = run_all(made(tmp_path, first=FIRST | {"inner_steps": "auto"}))
    assert all(each["inner_step_size"] != 0.123 for each in values)


def test_hyperband_begins_with_short_trials_and_goes_on_with_the_best(tmp_path):
    values = run_all(made(tmp_path, "hyperband", trials=20))
    first = [each for each in values if each["tuner/epochs"] == 1]
    later = [each for each in values if "tuner/trial_id" in each]
    assert values[: len(first)] == first and later
    for each in later:
        before = values[int(each["tuner/trial_id"])]
        assert SPACE.plain(before) == SPACE.plain(each)
        assert before["tuner/epochs"] == each["tuner/initial_epoch"] < each["tuner/epochs"]
    worst = min(each["inner_step_size"] for each in later if each["tuner/epochs"] == 3)
    assert worst >= sorted(each["inner_step_size"] for each in first)[len(first) // 2]


def test_minutes_count_over_all_starts(tmp_path):
    oracle = made(tmp_path)
    oracle.budget = oracles.Budget(seconds=100.0)
    assert not oracle.is_spent
    oracle._since -= 99.0
    trial = oracle.create_trial("tuner0")
    assert trial.status == TrialStatus.RUNNING
    end(oracle, trial)
    again = made(tmp_path)
    again.budget = oracles.Budget(seconds=100.0)
    again.reload()
    assert 99.0 < again.seconds < 100.0
    again._since -= 2.0
    assert again.create_trial("tuner0").status == TrialStatus.STOPPED
    assert len(again.trials) == 1


@pytest.mark.parametrize("tuner", oracles.TUNERS)
def test_what_was_begun_is_begun_again_and_what_ended_is_not(tmp_path, tuner):
    oracle = made(tmp_path, tuner)
    ended = oracle.create_trial("tuner0")
    end(oracle, ended)
    begun = oracle.create_trial("tuner0")
    again = made(tmp_path, tuner)
    again.reload()
    trial = again.create_trial("tuner0")
    assert trial.trial_id == begun.trial_id
    assert trial.hyperparameters.values == begun.hyperparameters.values
    end(again, trial)
    assert again.create_trial("tuner0").trial_id not in (ended.trial_id, begun.trial_id)


def test_a_kill_between_two_files_loses_no_trial_and_repeats_none(tmp_path):
    oracle = made(tmp_path)
    state = pathlib.Path(oracle._get_oracle_fname())
    first = oracle.create_trial("tuner0")
    before = state.read_text()
    end(oracle, first)
    second = oracle.create_trial("tuner0")
    state.write_text(before)  # as if the kill had come before the oracle was written
    again = made(tmp_path)
    again.reload()
    trial = again.create_trial("tuner0")
    assert trial.trial_id == second.trial_id
    end(again, trial)
    third = again.create_trial("tuner0").hyperparameters.values
    assert SPACE.plain(third) != SPACE.plain(second.hyperparameters.values)


@pytest.mark.parametrize("tuner", oracles.TUNERS)
@pytest.mark.parametrize(
    ("space", "count"),
    [
        (SearchSpace([Choice("filters", (8, 16, 32)), Choice("inner_steps", (1, 5, 9))]), 9),
        (
            SearchSpace([Interval("inner_step_size", 0.1, 0.102)]),
            3,
        ),  # as many as three digits tell apart
    ],
    ids=["choices", "digits"],
)
def test_no_setting_is_tried_twice_and_a_small_space_ends(tmp_path, tuner, space, count):
    oracle = made(tmp_path, tuner, space=space, trials=50)
    tried = []
    while (trial := oracle.create_trial("tuner0")).status != TrialStatus.STOPPED:
        if "tuner/trial_id" not in trial.hyperparameters.values:  # else it is a longer one
            tried.append(space.plain(trial.hyperparameters.values))
        end(oracle, trial, accuracy=len(tried) / 50)
    assert len(tried) == count and all(tried.count(each) == 1 for each in tried)
    assert oracle.is_exhausted and oracle.is_over


def test_nobody_goes_while_the_last_setting_is_at_work(tmp_path):
    space = SearchSpace([Choice("filters", (8, 16))])
    oracle = made(tmp_path, space=space, is_chief=True)
    first, last = (oracle.create_trial(name) for name in ("w1", "w2"))
    end(oracle, first)
    assert oracle.create_trial("w1").status == TrialStatus.IDLE
    assert not oracle.is_exhausted
    end(oracle, last)
    assert oracle.create_trial("w1").status == TrialStatus.STOPPED
    assert oracle.is_exhausted


def test_files_are_replaced_as_a_whole(tmp_path, monkeypatch):
    oracle = made(tmp_path)
    oracle.create_trial("tuner0")
    path = pathlib.Path(oracle._get_oracle_fname())
    before = path.read_text()

    def killed(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("anil_tf.files.os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        oracle.save()
    assert path.read_text() == before and json.loads(before)


def test_a_chief_leaves_a_trial_to_its_worker_until_that_is_silent_for_too_long(tmp_path):
    oracle = made(tmp_path, trials=2)
    lost = oracle.create_trial("lost")
    again = made(tmp_path, trials=2, is_chief=True, patience=50.0)
    again.reload()
    other = again.create_trial("other")
    assert other.trial_id != lost.trial_id
    end(again, other)
    assert again.create_trial("other").status == TrialStatus.IDLE, "to be there if it is needed"
    again.get_trial(lost.trial_id)  # a sign of life
    again.heard["lost"] -= 49.0
    assert again.create_trial("other").status == TrialStatus.IDLE
    again.heard["lost"] -= 2.0
    taken = again.create_trial("other")
    assert (taken.trial_id, taken.status) == (lost.trial_id, TrialStatus.RUNNING)
    assert not again.is_over
    end(again, taken)
    assert again.create_trial("other").status == TrialStatus.STOPPED
    assert again.is_over and not again.tuner_ids


def test_a_restarted_worker_gets_its_trial_back(tmp_path):
    oracle = made(tmp_path, is_chief=True)
    begun = oracle.create_trial("w1")
    assert oracle.create_trial("w1").trial_id == begun.trial_id
    assert oracle.create_trial("w2").trial_id != begun.trial_id


def test_three_failures_in_a_row_end_a_search(tmp_path):
    oracle = made(tmp_path, trials=9)
    for status in ("FAILED", "COMPLETED", "FAILED", "FAILED", "FAILED"):
        assert not oracle.is_spent
        end(oracle, oracle.create_trial("tuner0"), status=status)
    assert oracle.create_trial("tuner0").status == TrialStatus.STOPPED
    again = made(tmp_path, trials=9)
    again.reload()
    assert again.create_trial("tuner0").status == TrialStatus.RUNNING, "a new start tries again"


def test_an_unknown_tuner_is_refused():
    with pytest.raises(ValueError, match="random|bayesian|hyperband.*grid"):
        oracles.make("grid", SPACE, budget=oracles.Budget(), epochs=1)
