"""inner_step_size=auto and inner_steps=auto: measured when a run begins, then numbers."""

import dataclasses
import json

import pytest

from anil_tf import auto, build, training
from anil_tf.config import Evaluate, Train, flags
from tests.command_line import refuse, start, succeed
from tests.small_runs import ONE_STEP, assert_same_runs

BOTH = ["--inner_step_size=auto", "--inner_steps=auto"]


def measure(*arguments, **options):
    pytest.fail("measured anew")


def stop(*arguments, **options):
    raise training.Stopped("before it began.")


def test_it_is_measured_once_and_then_numbers(small_run, tmp_path, monkeypatch):
    """The run that goes on, and the run that is given its numbers, end alike."""
    small = [*small_run.arguments, *ONE_STEP, "--training_ways=3", "--head=free"]
    folder, given = tmp_path / "auto", tmp_path / "given"
    output = succeed("train", *small, *BOTH, f"--run_dir={folder}").output
    advice = json.loads((folder / "advice.json").read_text())
    assert f"automatic: {advice['reason']}" in output
    assert "from a head of zeros" in advice["reason"], "not from the random rows of a free one"
    assert 0.001 < advice["inner_step_size"] < 10 and 1 <= advice["inner_steps"] <= 100
    numbers = [f"--{name}={advice[name]}" for name in ("inner_step_size", "inner_steps")]
    lines = (folder / "flags.txt").read_text().splitlines()
    assert set(numbers) <= set(lines) and not set(BOTH) & set(lines)

    monkeypatch.setattr("anil_tf.theory.advice.measure", measure)
    output = succeed("train", *small, *BOTH, "--epochs=2", f"--run_dir={folder}").output
    assert "Going on" in output and f"automatic: {advice['reason']}" in output
    assert f"| automatic | {advice['reason']} |" in (folder / "card.md").read_text()
    from_flags = [f"--flagfile={folder}/flags.txt", "--epochs=2", f"--run_dir={given}"]
    assert "automatic: " not in succeed("train", *from_flags).output, "given as numbers"
    assert_same_runs(given, folder)

    said = "received --inner_step.*=auto"
    refuse(said, "train", *small, *BOTH, "--epochs=2", f"--run_dir={given}")
    monkeypatch.setattr(training, "run", stop)
    again = start("train", f"--flagfile={folder}/flags.txt", "--overwrite")
    assert again.code == 75
    assert not (folder / "advice.json").exists(), "these numbers were given"

    config = flags.read_command_line(Evaluate, [f"--run_dir={given}"]).config
    for name in ("inner_step_size", "inner_steps"):
        assert getattr(config, name) == advice[name]


@pytest.mark.parametrize(
    "given",
    [
        {"inner_steps": 3},
        {"inner_step_size": 0.05, "head_initialization": "zero"},
        {"adapted_layers": 2},
        # There are no moving averages before training.
        {"normalization": "running", "body": "conv4", "learned_inner_step_size": "per_variable"},
    ],
    ids=str,
)
def test_either_number_may_be_auto_with_any_head(small_run, given):
    arguments = [*small_run.arguments, *ONE_STEP, "--run_dir=run"]
    small = flags.read_command_line(Train, arguments).config
    asked = {"inner_step_size": "auto", "inner_steps": "auto"} | given
    config = dataclasses.replace(small, **asked)
    tasks = build.make_tasks(config, "train")
    resolved, advice = auto.resolve(config, build.make_network(config, tasks), tasks)
    names = {name for name in asked if asked[name] == "auto"}
    assert advice.keys() == names | {"reason"} and not resolved.measured_options
    assert dataclasses.replace(config, **{name: advice[name] for name in names}) == resolved
    assert 0.001 < resolved.inner_step_size < 10 and 1 <= resolved.inner_steps <= 100
