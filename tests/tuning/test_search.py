"""Searches in this process, with trials that take no time."""

import collections
import os
import socket
import threading
import time

import grpc
import pytest
from keras_tuner.src.distribute import oracle_client

from anil_tf.config import Range
from anil_tf.training import Stopped
from anil_tf.tuning import distributed, oracles, results, search, search_space
from anil_tf.tuning.distributed import Role, TimedOut
from anil_tf.tuning.score import Score

ALONE = Role("alone", "tuner0")


def run_search(folder, run, *, count=4, tuner="random", role=ALONE, **options):
    """Searches; returns the rows, best first."""
    oracle = oracles.make(
        tuner,
        search_space.make({"inner_step_size": Range(0.01, 1.0)}),
        budget=oracles.Budget(trials=count),
        epochs=9,
        first={"inner_step_size": 0.1},
        is_chief=role.kind == "chief",
    )
    search.search(oracle, run, directory=folder / "search", role=role, **options)
    return results.read(oracle.trials.values(), folder / "trials", oracle.space)


def score(trial):
    accuracy = 1 - abs(trial.values["inner_step_size"] - 0.1)
    return Score(accuracy, 0.01, False, trial.epochs or 9, 1.0)


def test_trials_are_run_until_the_budget_is_spent_and_more_with_a_larger_one(tmp_path, capsys):
    seen, changes = [], []

    def run(trial):
        seen.append(trial)
        return score(trial)

    rows = run_search(tmp_path, run, on_change=lambda: changes.append(len(seen)))
    assert [trial.name for trial in seen] == ["0000", "0001", "0002", "0003"]
    assert seen[0].values == {"inner_step_size": 0.1} and rows[0].trial == "0000"
    assert changes == [0, 1, 1, 2, 2, 3, 3, 4], "at the beginning and the end of each"
    run_search(tmp_path, run)
    assert len(seen) == 4, "there is nothing left to do"
    assert len(run_search(tmp_path, run, count=6)) == 6 and len(seen) == 6
    assert capsys.readouterr().out == "", "KerasTuner says nothing of its own"


def test_an_error_that_ends_the_search_is_passed_on_and_the_trial_is_run_again(tmp_path):
    names = []

    def run(trial):
        names.append(trial.name)
        if len(names) == 2:
            raise Stopped("stop")
        return score(trial)

    with pytest.raises(Stopped, match="stop"):
        run_search(tmp_path, run)
    assert len(run_search(tmp_path, run)) == 4
    assert names == ["0000", "0001", "0001", "0002", "0003"]


def test_a_trial_that_fails_is_told_and_left_behind(tmp_path, capsys):
    def run(trial):
        if trial.name == "0001":
            raise ValueError("no memory\nat all")
        return score(trial)

    rows = run_search(tmp_path, run)
    assert {row.trial: row.status for row in rows}["0001"] == "failed"
    assert capsys.readouterr().err == "Trial 0001 failed: no memory at all\n"
    why = tmp_path / "search" / "trial_0001" / "failed.txt"
    assert "ValueError: no memory" in why.read_text()


def test_when_every_trial_fails_the_search_says_so(tmp_path):
    def run(trial):
        raise ValueError("no memory")

    with pytest.raises(RuntimeError, match="the last 3 trials failed; .*failed.txt say why"):
        run_search(tmp_path, run, count=9)


def test_hyperband_tells_how_long_and_what_to_go_on_from(tmp_path):
    seen = {}

    def run(trial):
        seen[trial.name] = trial
        return score(trial)

    run_search(tmp_path, run, count=16, tuner="hyperband")
    longer = [trial for trial in seen.values() if trial.goes_on_from]
    assert longer
    for trial in longer:
        before = seen[trial.goes_on_from]
        assert trial.epochs > before.epochs and trial.values == before.values


# ---- Chief and workers -----------------------------------------------------------------------------------------------


@pytest.fixture
def become(monkeypatch):
    """Gives this process a role, and returns it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", str(port))

    def become(name):
        monkeypatch.setenv("KERASTUNER_TUNER_ID", name)
        return distributed.role(os.environ)

    return become


def test_a_trial_that_ends_while_the_chief_is_away_has_not_failed(tmp_path, monkeypatch, become):
    names = []

    class Client:
        """Reaches the chief until there is a score to tell."""

        def __init__(self, oracle):
            self.create_trial, self.get_trial = oracle.create_trial, oracle.get_trial

        def update_trial(self, trial_id, metrics):
            raise grpc.RpcError

        def end_trial(self, trial):
            raise AssertionError(f"the trial was ended: {trial.status}")

    monkeypatch.setattr(oracle_client, "OracleClient", Client)

    def run(trial):
        trial.on_step()
        names.append(trial.name)
        return score(trial)

    with pytest.raises(TimedOut, match="the chief at 127.0.0.1:.* does not answer any more"):
        run_search(tmp_path, run, role=become("w1"))
    assert names == ["0000"]


class Killed(BaseException):
    """A kill of the worker that raises it."""


def test_a_worker_that_is_killed_goes_on_with_its_trial_and_none_is_lost_or_run_twice(
    tmp_path, become
):
    """Over gRPC on loopback, with the chief and a second worker in threads of this process."""
    found, ran = [], collections.defaultdict(list)

    def start(name, run, count=6):
        role = become(name)
        if role.kind == "worker":
            distributed.find_chief(role.address, 30.0)
        run_here = lambda: found.append(run_search(tmp_path, run, role=role, count=count))  # noqa: E731
        thread = threading.Thread(target=run_here, daemon=True)
        thread.start()
        time.sleep(1.0)  # until it has read its role
        return thread

    def run_by(name, kill=False):
        def run(trial):
            ran[name].append(trial.name)
            if kill:
                raise Killed
            time.sleep(0.2)
            return score(trial)

        return run

    chief = start("chief", None)
    with pytest.raises(Killed):
        role = become("w1")
        distributed.find_chief(role.address, 30.0)
        run_search(tmp_path, run_by("w1", kill=True), role=role)
    other = start("w2", run_by("w2"))
    run_search(tmp_path, run_by("w1"), role=become("w1"))
    other.join(30)
    chief.join(30)
    assert not chief.is_alive() and not other.is_alive()
    rows = max(found, key=len)
    names = [f"{number:04d}" for number in range(6)]
    assert sorted(row.trial for row in rows) == names
    assert {row.status for row in rows} == {"done"}
    assert ran["w1"][:2] == [names[0]] * 2, "its own trial again"
    assert sorted([*ran["w1"][1:], *ran["w2"]]) == names and ran["w2"]
    # Alone, the search goes on where chief and workers were.
    os.environ.pop("KERASTUNER_ORACLE_IP")
    assert len(run_search(tmp_path, run_by("alone"), count=7)) == 7
    assert ran["alone"] == ["0006"]
