"""The oracles without any process around them: proposals, budget, memory, lost workers."""

import json
import pathlib

import pytest
from keras_tuner.engine.trial import TrialStatus

from anil_tf.config import Range
from anil_tf.tuning import oracles, search_space

RANGES = {"inner_step_size": Range(0.01, 1.0), "inner_steps": Range(1, 20), "first_order": True}
SPACE = search_space.make(RANGES)
FIRST = {"inner_step_size": 0.123456, "inner_steps": 5, "first_order": False}
TUNERS = ("random", "bayesian", "hyperband")


def made(folder, tuner="random", *, ranges=RANGES, trials=5, seconds=None, **options):
    """An oracle that keeps its files in a folder."""
    options = {"epochs": 9, "first": FIRST} | options
    budget = oracles.Budget(trials, seconds)
    oracle = oracles.make(tuner, search_space.make(ranges), budget=budget, **options)
    oracle._set_project_dir(str(folder), "search")
    return oracle


def again(folder, *arguments, **options):
    """The same after a kill."""
    oracle = made(folder, *arguments, **options)
    oracle.reload()
    return oracle


def end(oracle, trial, accuracy=0.5, status=TrialStatus.COMPLETED):
    """Ends a trial as a search does."""
    if status == TrialStatus.COMPLETED:
        oracle.update_trial(trial.trial_id, {"accuracy": accuracy})
    trial.status = status
    oracle.end_trial(trial)


def run_all(oracle):
    """Runs trials until there are no more; returns their values."""
    values = []
    while (trial := oracle.create_trial("tuner0")).status != TrialStatus.STOPPED:
        values.append(trial.hyperparameters.values)
        end(oracle, trial, accuracy=values[-1].get("inner_step_size", 0.5))
    return values


@pytest.mark.parametrize("tuner", TUNERS)
def test_a_search_begins_with_the_given_setting_and_keeps_its_budget(tmp_path, tuner):
    values = run_all(made(tmp_path, tuner))
    assert len(values) == 5
    used = [search_space.rounded(SPACE, each) for each in values]
    assert used[0] == {"inner_step_size": 0.123, "inner_steps": 5, "first_order": False}
    assert not any(search_space.outside(SPACE, each) for each in used)
    assert [each["inner_step_size"] for each in used] == [v["inner_step_size"] for v in values]


@pytest.mark.parametrize("tuner", TUNERS)
def test_proposals_are_those_of_earlier_versions(tmp_path, tuner):
    """The same seed gives the same trials, whatever the version; all tuners begin with the same draws."""
    values = run_all(made(tmp_path, tuner, trials=4))
    assert [tuple(search_space.rounded(SPACE, each).values()) for each in values] == [
        (0.123, 5, False),
        (0.0186, 18, False),
        (0.0297, 6, True),
        (0.0444, 1, False),
    ]


@pytest.mark.parametrize("seed", [0, 1])
def test_a_seed_gives_the_same_proposals(tmp_path, seed):
    first, same = (run_all(made(tmp_path / name, seed=seed)) for name in "ab")
    assert first == same
    assert first[1:] != run_all(made(tmp_path / "c", seed=seed + 1))[1:]


def test_a_first_setting_outside_of_the_space_is_no_trial(tmp_path):
    values = run_all(made(tmp_path, first=FIRST | {"inner_steps": "auto"}))
    assert len(values) == 5 and all(each["inner_step_size"] != 0.123 for each in values)


def test_hyperband_begins_with_short_trials_and_goes_on_with_the_best(tmp_path):
    values = run_all(made(tmp_path, "hyperband", trials=20))
    first = [each for each in values if each["tuner/epochs"] == 1]
    later = [each for each in values if "tuner/trial_id" in each]
    assert values[: len(first)] == first and later
    for each in later:
        before = values[int(each["tuner/trial_id"])]
        assert search_space.rounded(SPACE, before) == search_space.rounded(SPACE, each)
        assert before["tuner/epochs"] == each["tuner/initial_epoch"] < each["tuner/epochs"]
    worst = min(each["inner_step_size"] for each in later if each["tuner/epochs"] == 3)
    assert worst >= sorted(each["inner_step_size"] for each in first)[len(first) // 2]


def test_minutes_count_over_all_starts(tmp_path):
    oracle = made(tmp_path, trials=None, seconds=100.0)
    oracle._since -= 99.0
    end(oracle, oracle.create_trial("tuner0"))
    oracle = again(tmp_path, trials=None, seconds=100.0)
    assert 99.0 < oracle.seconds < 100.0
    oracle._since -= 2.0
    assert oracle.create_trial("tuner0").status == TrialStatus.STOPPED
    assert len(oracle.trials) == 1


@pytest.mark.parametrize("tuner", TUNERS)
def test_what_was_begun_is_begun_again_and_what_ended_is_not(tmp_path, tuner):
    oracle = made(tmp_path, tuner)
    ended = oracle.create_trial("tuner0")
    end(oracle, ended)
    begun = oracle.create_trial("tuner0")
    oracle = again(tmp_path, tuner)
    trial = oracle.create_trial("tuner0")
    assert trial.trial_id == begun.trial_id
    assert trial.hyperparameters.values == begun.hyperparameters.values
    end(oracle, trial)
    assert oracle.create_trial("tuner0").trial_id not in (ended.trial_id, begun.trial_id)


def test_a_kill_between_two_files_loses_no_trial_and_repeats_none(tmp_path):
    oracle = made(tmp_path)
    state = pathlib.Path(oracle._get_oracle_fname())
    first = oracle.create_trial("tuner0")
    before = state.read_text()
    end(oracle, first)
    second = oracle.create_trial("tuner0")
    state.write_text(before)  # as if the kill had come before the oracle was written
    oracle = again(tmp_path)
    trial = oracle.create_trial("tuner0")
    assert trial.trial_id == second.trial_id
    end(oracle, trial)
    third = oracle.create_trial("tuner0").hyperparameters.values
    assert third != second.hyperparameters.values


def test_files_are_replaced_as_a_whole(tmp_path, monkeypatch):
    oracle = made(tmp_path)
    trial = oracle.create_trial("tuner0")
    folder = pathlib.Path(oracle._project_dir)
    paths = folder / "oracle.json", folder / f"trial_{trial.trial_id}" / "trial.json"
    before = [path.read_text() for path in paths]

    def killed(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("anil_tf.files.os.replace", killed)
    for write in (oracle.save, lambda: oracle._save_trial(trial)):
        with pytest.raises(KeyboardInterrupt):
            write()
    assert [path.read_text() for path in paths] == before and all(map(json.loads, before))


@pytest.mark.parametrize("tuner", TUNERS)
@pytest.mark.parametrize(
    ("ranges", "count"),
    [
        ({"filters": (8, 16, 32), "inner_steps": (1, 5, 9)}, 9),
        ({"inner_step_size": Range(0.1, 0.102)}, 3),  # as many as three digits tell apart
    ],
    ids=["choices", "digits"],
)
def test_no_setting_is_tried_twice_and_a_small_space_ends(tmp_path, tuner, ranges, count):
    oracle = made(tmp_path, tuner, ranges=ranges, trials=50)
    values = [each for each in run_all(oracle) if "tuner/trial_id" not in each]
    tried = [search_space.rounded(oracle.space, each) for each in values]
    assert len(tried) == count and all(tried.count(each) == 1 for each in tried)
    assert oracle.is_exhausted and oracle.is_over


def test_nobody_goes_while_the_last_setting_is_at_work(tmp_path):
    oracle = made(tmp_path, ranges={"filters": (8, 16)}, is_chief=True)
    first, last = (oracle.create_trial(name) for name in ("w1", "w2"))
    end(oracle, first)
    assert oracle.create_trial("w1").status == TrialStatus.IDLE
    assert not oracle.is_exhausted
    end(oracle, last)
    assert oracle.create_trial("w1").status == TrialStatus.STOPPED
    assert oracle.is_exhausted


def test_a_chief_leaves_a_trial_to_its_worker_until_that_is_silent_for_too_long(tmp_path):
    lost = made(tmp_path, trials=2).create_trial("lost")
    oracle = again(tmp_path, trials=2, is_chief=True, patience=50.0)
    other = oracle.create_trial("other")
    assert other.trial_id != lost.trial_id
    end(oracle, other)
    assert oracle.create_trial("other").status == TrialStatus.IDLE, "to be there if it is needed"
    oracle.get_trial(lost.trial_id)  # a sign of life
    oracle.heard["lost"] -= 49.0
    assert oracle.create_trial("other").status == TrialStatus.IDLE
    oracle.heard["lost"] -= 2.0
    taken = oracle.create_trial("other")
    assert (taken.trial_id, taken.status) == (lost.trial_id, TrialStatus.RUNNING)
    assert not oracle.is_over
    end(oracle, taken)
    assert oracle.create_trial("other").status == TrialStatus.STOPPED
    assert oracle.is_over and not oracle.tuner_ids


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
    next_start = again(tmp_path, trials=9).create_trial("tuner0")
    assert next_start.status == TrialStatus.RUNNING, "a new start tries again"
