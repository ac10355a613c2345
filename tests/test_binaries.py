"""The real binaries, each a start of TensorFlow: one run from its first step to a client that asks its export.

What the commands do is tested in tests/commands, in this process. Here: signals from outside, exit codes, what goes to
standard output and to standard error.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from anil_tf.deploy import exported
from tests.deploy.learners import pixels
from tests.small_runs import rows


def start(repository, name, *arguments, **environment):
    return subprocess.Popen(
        [sys.executable, repository / "bin" / f"{name}.py", *map(str, arguments)],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process, code=0):
    """The output and the error of a binary that ends with an exit code."""
    output, error = process.communicate(timeout=300)
    assert process.returncode == code, error
    return output, error


def wait_for_a_state(folder):
    """Waits until a run has begun and saved its first state."""
    deadline = time.monotonic() + 120
    while not (folder / "checkpoints" / "checkpoint").exists() and time.monotonic() < deadline:
        time.sleep(0.05)


def test_a_run_is_stopped_goes_on_is_evaluated_exported_and_asked(repository, small_run, tmp_path):
    folder, export = tmp_path / "run", tmp_path / "export"
    train = ["train", *small_run.arguments, f"--run_dir={folder}"]
    process = start(repository, *train)
    wait_for_a_state(folder)  # the first meta-step takes seconds, as it is compiled
    process.send_signal(signal.SIGTERM)
    _, error = finish(process, 75)
    (line,) = error.splitlines()
    assert "of 6; saved in" in line and line.endswith("The same command goes on.")

    output, error = finish(start(repository, *train))
    assert "Going on with the run" in output and output.splitlines()[-1].startswith("Finished: ")
    assert error == "", "no noise on a terminal that is none"
    # Bit by bit in one process (tests/commands/test_train.py); another may have other threads.
    for row, expected in zip(rows(folder), rows(small_run.directory), strict=True):
        assert float(row["loss"]) == pytest.approx(float(expected["loss"]), rel=1e-4)

    output, error = finish(start(repository, "evaluate", f"--run_dir={folder}", "--episodes=8"))
    result = json.loads(output.splitlines()[-1])
    assert result["episodes"] == 8 and 0 < result["accuracy"] <= 1 and error == ""

    pytest.importorskip("ai_edge_litert")
    where = [f"--run_dir={folder}", f"--output_dir={export}", "--format=litert"]
    sizes = ["--episodes=2", "--calibration_episodes=2"]
    output, _ = finish(start(repository, "export", *where, *sizes))
    assert f"Next: python {os.path.relpath(export)}/client.py" in output

    support, labels, queries = pixels(channels=3)
    classes = {f"class{label}": support[labels == label] for label in np.unique(labels)}
    np.savez(tmp_path / "examples.npz", **classes)
    np.save(tmp_path / "queries.npy", queries)
    command = [sys.executable, export / "client.py", "examples.npz", "queries.npy"]
    asked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert asked.returncode == 0, asked.stderr
    model = exported.load(export)
    expected = model.predict(queries, model.adapt(support, labels)).argmax(axis=-1)
    answers = [line.split()[1] for line in asked.stdout.splitlines()]
    assert answers == [f"class{label}" for label in expected]


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


@pytest.mark.slow
def test_two_machines_begin_afresh_stop_together_and_go_on(repository, small_run, tmp_path):
    """Two replicas in one process: tests/training/test_distribution.py."""
    alone, folder = tmp_path / "alone", tmp_path / "together"
    steps = [*small_run.arguments, "--steps_per_epoch=30"]
    finish(start(repository, "train", *steps, f"--run_dir={alone}"))
    shutil.copytree(alone, folder)

    def start_both(*more):
        workers = [f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"]
        return [
            start(
                repository,
                "train",
                *steps,
                "--strategy=multi_worker",
                f"--run_dir={folder}",
                *more,
                TF_CONFIG=json.dumps(
                    {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
                ),
            )
            for index in range(2)
        ]

    stopped = start_both("--overwrite")
    while (folder / "model.keras").exists() and all(one.poll() is None for one in stopped):
        time.sleep(0.1)
    wait_for_a_state(folder)
    stopped[1].send_signal(signal.SIGTERM)  # which reaches one of them only
    for process in stopped:
        _, error = finish(process, 75)
        assert "of 60; saved in" in error.strip().splitlines()[-1]
    for number, process in enumerate(start_both()):
        output, _ = finish(process)
        assert ("Going on" in output) == (number == 0), "one of them speaks"
    together, expected = rows(folder), rows(alone)
    assert [row["epoch"] for row in together] == ["1", "2"]
    # The meta-steps are those of one machine; rounding grows with every one of them.
    assert float(together[0]["loss"]) == pytest.approx(float(expected[0]["loss"]), rel=1e-2)
    assert {path.name for path in folder.iterdir()} == {path.name for path in alone.iterdir()}
