"""R replicas compute what one computes: on one machine, and (slow) in two processes on loopback."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests import replica_training

SCRIPT = Path(replica_training.__file__)


def start(name, output, **environment):
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), name, str(output)],
        env=os.environ | environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(*processes):
    for process in processes:
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors[-2000:]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    output = tmp_path_factory.mktemp("alone") / "alone.npz"
    replica_training.main("none", output)
    return np.load(output)


def assert_same(result, expected):
    assert set(result.files) == set(expected.files)
    for name in expected.files:
        np.testing.assert_allclose(result[name], expected[name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_two_devices_equal_one(alone, tmp_path):
    finish(start("mirrored", tmp_path / "mirrored.npz"))
    assert_same(np.load(tmp_path / "mirrored.npz"), alone)


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


@pytest.mark.slow
def test_two_processes_equal_one(alone, tmp_path):
    workers = [f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"]
    outputs = [tmp_path / "0.npz", tmp_path / "1.npz"]
    processes = []
    for index, output in enumerate(outputs):
        task = {"type": "worker", "index": index}
        cluster = json.dumps({"cluster": {"worker": workers}, "task": task})
        processes.append(start("multi_worker", output, TF_CONFIG=cluster))
    finish(*processes)
    for output in outputs:
        assert_same(np.load(output), alone)
