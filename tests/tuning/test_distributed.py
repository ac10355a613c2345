"""Chief and workers: their roles and their time-outs. See also test_search.py."""

import re
import socket
import threading
import time

import pytest

from anil_tf.tuning import distributed

CHIEF = {
    "KERASTUNER_TUNER_ID": "chief",
    "KERASTUNER_ORACLE_IP": "127.0.0.1",
    "KERASTUNER_ORACLE_PORT": "8000",
}


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
    ("environment", "words"),
    [
        (CHIEF | {"KERASTUNER_TUNER_ID": ""}, "KERASTUNER_TUNER_ID: expected a value"),
        (CHIEF | {"KERASTUNER_ORACLE_PORT": ""}, "KERASTUNER_ORACLE_PORT: expected a value"),
        (CHIEF | {"KERASTUNER_ORACLE_IP": ""}, "KERASTUNER_ORACLE_IP: expected a value beside"),
        (CHIEF | {"KERASTUNER_ORACLE_PORT": "http"}, "KERASTUNER_ORACLE_PORT=http: expected a"),
        (CHIEF | {"KERASTUNER_ORACLE_PORT": "70000"}, "KERASTUNER_ORACLE_PORT=70000: expected"),
        ({"KERASTUNER_TUNER_ID": ""}, "KERASTUNER_TUNER_ID: expected a value, received none"),
        (
            {"KERASTUNER_TUNER_ID": "w1", "KERASTUNER_ORACLE_PORT": "8000"},
            "KERASTUNER_ORACLE_IP: expected a value beside KERASTUNER_ORACLE_PORT=8000, "
            "KERASTUNER_TUNER_ID=w1, received none",
        ),
    ],
)
def test_half_a_role_is_refused(environment, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        distributed.role(environment)


def test_a_worker_waits_for_its_chief_no_longer_than_it_is_told():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    since = time.monotonic()
    with pytest.raises(distributed.TimedOut, match="no chief answered at 127.0.0.1:.* within 0.5"):
        distributed.find_chief(f"127.0.0.1:{port}", 0.5)
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


def serve(oracle, timeout, start=lambda: None):
    distributed.serve(start, oracle, timeout=timeout, on_change=lambda: None)


def test_a_chief_waits_for_workers_no_longer_than_it_is_told():
    with pytest.raises(distributed.TimedOut, match="no worker came within 0.3 s"):
        serve(Oracle(), 0.3)
    oracle = Oracle()
    oracle.heard["w7"] = time.monotonic()
    with pytest.raises(distributed.TimedOut, match="no worker was heard of for 0.3 s.*w7"):
        serve(oracle, 0.3)


def test_a_chief_with_nothing_left_to_do_ends_whoever_is_missing():
    oracle = Oracle()
    oracle.is_over, oracle.tuner_ids = True, {"gone"}
    serve(oracle, 0.3)
    oracle.tuner_ids.clear()
    serve(oracle, 60)


def test_what_goes_wrong_in_the_server_reaches_the_chief():
    def start():
        raise RuntimeError("no server")

    with pytest.raises(RuntimeError, match="no server"):
        serve(Oracle(), 60, start)


class Client:
    """A worker's way to its chief, which is away for a moment."""

    def __init__(self):
        self.asked = []

    def get_trial(self, trial_id):
        self.asked.append(trial_id)
        raise RuntimeError("ends no trial")


def _wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_worker_at_work_gives_signs_of_life_and_one_that_hangs_falls_silent():
    client = Client()
    with distributed.signs_of_life(client, "0003", timeout=0.2) as on_step:
        _wait_for(lambda: on_step() or len(client.asked) >= 8)
        time.sleep(0.5)
        silent = len(client.asked)
        time.sleep(0.5)
        assert len(client.asked) == silent
        _wait_for(lambda: on_step() or len(client.asked) > silent)
    assert set(client.asked) == {"0003"}
    _wait_for(lambda: not any(each.name.endswith("0003") for each in threading.enumerate()))
