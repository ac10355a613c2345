"""Searches in this process, with trials that take no time."""

import grpc
import pytest
from keras_tuner.src.distribute import oracle_client

from anil_tf.tuning import distributed, oracles, search, trials
from anil_tf.tuning.distributed import Role, TimedOut
from anil_tf.tuning.objective import Score
from anil_tf.tuning.search_space import Interval, SearchSpace

SPACE = SearchSpace([Interval("inner_step_size", 0.01, 1.0)])
ALONE = Role("alone", "tuner0")


class Broken(Exception):
    """Ends a search."""


def searched(folder, run, *, count=4, tuner="random", role=ALONE, **options):
    """Searches; returns the rows, best first."""
    budget = oracles.Budget(trials=count)
    oracle = oracles.make(tuner, SPACE, budget=budget, epochs=9, first={"inner_step_size": 0.1})
    search.search(
        oracle, run, directory=folder / "search", role=role, ends_the_search=(Broken,), **options
    )
    return trials.read(folder / "search", folder / "trials", SPACE)


def score(trial):
    return Score(
        1 - abs(trial.values["inner_step_size"] - 0.1), 0.01, False, trial.epochs or 9, 1.0
    )


def test_trials_are_run_until_the_budget_is_spent_and_more_with_a_larger_one(tmp_path, capsys):
    seen, changes = [], []

    def run(trial):
        seen.append(trial)
        return score(trial)

    rows = searched(tmp_path, run, on_change=lambda: changes.append(len(seen)))
    assert [trial.name for trial in seen] == ["0000", "0001", "0002", "0003"]
    assert seen[0].values == {"inner_step_size": 0.1} and rows[0].name == "0000"
    assert changes == [0, 1, 1, 2, 2, 3, 3, 4], "at the beginning and the end of each"
    searched(tmp_path, run)
    assert len(seen) == 4, "there is nothing left to do"
    assert len(searched(tmp_path, run, count=6)) == 6 and len(seen) == 6
    assert capsys.readouterr().out == "", "KerasTuner says nothing of its own"


def test_a_chief_and_a_lonely_process_go_on_with_each_others_search(tmp_path, monkeypatch):
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "chief")
    assert len(searched(tmp_path, score, role=Role("alone", "chief"))) == 4
    monkeypatch.delenv("KERASTUNER_TUNER_ID")

    def run(trial):
        assert trial.name == "0004"
        return score(trial)

    assert len(searched(tmp_path, run, count=5)) == 5


def test_an_error_that_ends_the_search_is_passed_on_and_the_trial_is_run_again(tmp_path):
    names = []

    def run(trial):
        names.append(trial.name)
        if len(names) == 2:
            raise Broken("stop")
        return score(trial)

    with pytest.raises(Broken, match="stop"):
        searched(tmp_path, run)
    assert len(searched(tmp_path, run)) == 4
    assert names == ["0000", "0001", "0001", "0002", "0003"]


def test_a_trial_that_fails_is_told_and_left_behind(tmp_path, capsys):
    def run(trial):
        if trial.name == "0001":
            raise ValueError("no memory\nat all")
        return score(trial)

    rows = searched(tmp_path, run)
    assert {row.name: row.status for row in rows}["0001"] == "failed"
    assert capsys.readouterr().err == "Trial 0001 failed: no memory at all\n"
    why = tmp_path / "search" / "trial_0001" / "failed.txt"
    assert "ValueError: no memory" in why.read_text()


def test_when_every_trial_fails_the_search_says_so(tmp_path):
    def run(trial):
        raise ValueError("no memory")

    with pytest.raises(RuntimeError, match="the last 3 trials failed; .*failed.txt say why"):
        searched(tmp_path, run, count=9)


def test_a_trial_that_ends_while_the_chief_is_away_has_not_failed(tmp_path, monkeypatch):
    names = []

    class Client:
        """Reaches the chief until there is a score to tell."""

        def __init__(self, oracle):
            self._oracle, self.objective = oracle, oracle.objective

        def create_trial(self, tuner_id):
            return self._oracle.create_trial(tuner_id)

        def get_trial(self, trial_id):
            return self._oracle.get_trial(trial_id)

        def update_trial(self, trial_id, metrics, step=0):
            raise grpc.RpcError

        def end_trial(self, trial):
            raise AssertionError(f"the trial was ended: {trial.status}")

    monkeypatch.setattr(oracle_client, "OracleClient", Client)
    monkeypatch.setattr(distributed, "find_chief", lambda address, seconds: None)
    for name, value in (("TUNER_ID", "w1"), ("ORACLE_IP", "127.0.0.1"), ("ORACLE_PORT", "8000")):
        monkeypatch.setenv(f"KERASTUNER_{name}", value)

    def run(trial):
        trial.moved()
        names.append(trial.name)
        return score(trial)

    with pytest.raises(TimedOut, match="the chief at 127.0.0.1:8000 does not answer any more"):
        searched(tmp_path, run, role=Role("worker", "w1", "127.0.0.1:8000"))
    assert names == ["0000"]


def test_hyperband_tells_how_long_and_what_to_go_on_from(tmp_path):
    seen = {}

    def run(trial):
        seen[trial.name] = trial
        return score(trial)

    searched(tmp_path, run, count=16, tuner="hyperband")
    longer = [trial for trial in seen.values() if trial.goes_on_from]
    assert longer
    for trial in longer:
        before = seen[trial.goes_on_from]
        assert trial.epochs > before.epochs and trial.values == before.values
