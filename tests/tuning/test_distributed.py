"""Chief and workers: their roles, their time-outs, and a search of three real processes."""

import collections
import csv
import os
import re
import socket
import subprocess
import sys
import threading
import time

import pytest

from anil_tf.tuning import distributed

CHIEF = {
    "KERASTUNER_TUNER_ID": "chief",
    "KERASTUNER_ORACLE_IP": "127.0.0.1",
    "KERASTUNER_ORACLE_PORT": "8000",
}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ("alone", "tuner0", "")),
        ({"KERASTUNER_TUNER_ID": "w1"}, ("alone", "w1", "")),
        (CHIEF, ("chief", "chief", "127.0.0.1:8000")),
        (CHIEF | {"KERASTUNER_TUNER_ID": "w1"}, ("worker", "w1", "127.0.0.1:8000")),
    ],
)
def test_the_environment_tells_the_role(environment, expected):
    role = distributed.role(environment)
    assert (role.kind, role.name, role.address) == expected
    assert role.writes is (role.kind != "worker")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"KERASTUNER_TUNER_ID": ""}, "KERASTUNER_TUNER_ID: expected a value"),
        ({"KERASTUNER_ORACLE_PORT": ""}, "KERASTUNER_ORACLE_PORT: expected a value"),
        ({"KERASTUNER_ORACLE_IP": ""}, "KERASTUNER_ORACLE_IP: expected a value beside"),
        ({"KERASTUNER_ORACLE_PORT": "http"}, "KERASTUNER_ORACLE_PORT=http: expected a port"),
        ({"KERASTUNER_ORACLE_PORT": "70000"}, "KERASTUNER_ORACLE_PORT=70000: expected a port"),
    ],
)
def test_a_role_without_its_variables_is_refused(changed, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        distributed.role(CHIEF | changed)


@pytest.mark.parametrize(
    ("environment", "missing"),
    [
        ({"KERASTUNER_TUNER_ID": ""}, "KERASTUNER_TUNER_ID"),
        ({"KERASTUNER_ORACLE_PORT": "8000"}, "KERASTUNER_ORACLE_IP"),
        (
            {"KERASTUNER_TUNER_ID": "w1", "KERASTUNER_ORACLE_PORT": "8000"},
            "KERASTUNER_ORACLE_IP: expected a value beside KERASTUNER_ORACLE_PORT=8000, "
            "KERASTUNER_TUNER_ID=w1, received none",
        ),
    ],
)
def test_nobody_is_alone_by_half_a_role(environment, missing):
    with pytest.raises(ValueError, match=f"^{missing}"):
        distributed.role(environment)


def test_a_worker_waits_for_its_chief_no_longer_than_it_is_told():
    since = time.monotonic()
    with pytest.raises(distributed.TimedOut, match="no chief answered at 127.0.0.1:.* within 0.5"):
        distributed.find_chief(f"127.0.0.1:{free_port()}", 0.5)
    assert time.monotonic() - since < 10


def test_an_address_that_is_taken_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(OSError, match="the chief cannot listen at 127.0.0.1.*Choose another"):
            distributed.claim(address)
    distributed.claim(address)


class Oracle:
    """What `serve` looks at."""

    def __init__(self):
        self.trials, self.ongoing_trials, self.heard, self.tuner_ids = {}, {}, {}, set()
        self.is_over = False


def test_a_chief_waits_for_workers_no_longer_than_it_is_told():
    with pytest.raises(distributed.TimedOut, match="no worker came within 0.3 s"):
        distributed.serve(lambda: None, Oracle(), timeout=0.3, on_change=lambda: None)
    oracle = Oracle()
    oracle.heard["w7"] = time.monotonic()
    with pytest.raises(distributed.TimedOut, match="no worker was heard of for 0.3 s.*w7"):
        distributed.serve(lambda: None, oracle, timeout=0.3, on_change=lambda: None)


def test_a_chief_with_nothing_left_to_do_ends_whoever_is_missing():
    oracle = Oracle()
    oracle.is_over, oracle.tuner_ids = True, {"gone"}
    distributed.serve(lambda: None, oracle, timeout=0.3, on_change=lambda: None)
    oracle.tuner_ids.clear()
    distributed.serve(lambda: None, oracle, timeout=60, on_change=lambda: None)


def test_what_goes_wrong_in_the_server_reaches_the_chief():
    def start():
        raise RuntimeError("no server")

    with pytest.raises(RuntimeError, match="no server"):
        distributed.serve(start, Oracle(), timeout=60, on_change=lambda: None)


class Client:
    """A worker's way to its chief, which is away for a moment."""

    def __init__(self):
        self.asked = []

    def get_trial(self, trial_id):
        self.asked.append(trial_id)
        raise RuntimeError("ends no trial")


def _threads(trial_id):
    return [thread for thread in threading.enumerate() if thread.name.endswith(trial_id)]


def test_a_worker_at_work_gives_signs_of_life():
    client = Client()
    with distributed.signs_of_life(client, "0003", timeout=0.2) as moved:
        _wait_for(lambda: moved() or len(client.asked) >= 10)
        assert _threads("0003")
    assert set(client.asked) == {"0003"}
    _wait_for(lambda: not _threads("0003"))


def test_a_worker_that_hangs_falls_silent():
    client = Client()
    with distributed.signs_of_life(client, "0004", timeout=0.2) as moved:
        time.sleep(1)
        silent = len(client.asked)
        time.sleep(1)
        assert len(client.asked) == silent
        _wait_for(lambda: moved() or len(client.asked) > silent)


def _start(repository, folder, port, name, *, trials=4, slices=30, timeout=60):
    """Starts a process of a search whose trials sleep for tenths of a second."""
    environment = CHIEF | {"KERASTUNER_TUNER_ID": name, "KERASTUNER_ORACLE_PORT": str(port)}
    script = repository / "tests" / "tuning" / "light_search.py"
    arguments = [folder, "random", trials, slices, timeout]
    return subprocess.Popen(
        [sys.executable, *map(str, [script, *arguments])],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _marks(folder):
    """What was begun: worker, trial, slice."""
    path = folder / "marks"
    return [tuple(line.split()) for line in path.read_text().splitlines()] if path.exists() else []


def _wait_for(condition):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_chief_and_two_workers_of_which_two_are_killed_and_come_back(repository, tmp_path):
    """Real processes on loopback: no trial is lost, none is run twice, and a killed one goes on where it was."""
    folder, port = tmp_path / "search", free_port()
    chief, first, second = (
        _start(repository, folder, port, name) for name in ("chief", "w1", "w2")
    )
    _wait_for(lambda: sum(worker == "w2" for worker, *_ in _marks(folder)) >= 5)
    second.kill()
    chief.kill()
    for process in (second, chief):
        process.communicate()
    held = next(trial for worker, trial, _ in _marks(folder) if worker == "w2")
    again, chief = (_start(repository, folder, port, name) for name in ("w2", "chief"))
    for process in (chief, first, again):
        _, error = process.communicate(timeout=180)
        assert process.returncode == 0, error
    marks = _marks(folder)
    ran = {worker: {trial for name, trial, _ in marks if name == worker} for worker in ("w1", "w2")}
    assert ran["w1"] and ran["w2"] and not ran["w1"] & ran["w2"]
    assert ran["w1"] | ran["w2"] == {f"{number:04d}" for number in range(4)}
    repeated = [mark for mark, count in collections.Counter(marks).items() if count > 1]
    assert len(repeated) <= 1 and all(trial == held for _, trial, _ in repeated)
    with (folder / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 and {row["status"] for row in rows} <= {"done", "diverged"}
    accuracies = [float(row["accuracy"]) for row in rows if row["status"] == "done"]
    assert accuracies == sorted(accuracies, reverse=True)
