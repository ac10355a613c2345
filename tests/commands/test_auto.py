"""inner_step_size=auto and inner_steps=auto: measured when a run begins, then numbers."""

import csv
import json

import pytest

from anil_tf.config import Evaluate, flags
from tests.command_line import refuse, succeed
from tests.commands.test_train import ONE_STEP, assert_same_runs

BOTH = ["--inner_step_size=auto", "--inner_steps=auto"]


@pytest.fixture
def measures_nothing(monkeypatch):
    def measure(*arguments, **options):
        pytest.fail("measured anew")

    return lambda: monkeypatch.setattr("anil_tf.theory.advice.measure", measure)


def test_it_is_measured_once_and_then_numbers(small_run, tmp_path, measures_nothing):
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

    measures_nothing()
    output = succeed("train", *small, *BOTH, "--epochs=2", f"--run_dir={folder}").output
    assert "Going on" in output and f"automatic: {advice['reason']}" in output
    assert f"| automatic | {advice['reason']} |" in (folder / "card.md").read_text()
    from_flags = [f"--flagfile={folder}/flags.txt", "--epochs=2", f"--run_dir={given}"]
    assert "automatic: " not in succeed("train", *from_flags).output, "given as numbers"
    assert_same_runs(given, folder)

    said = "received --inner_step.*=auto"
    refuse(said, "train", *small, *BOTH, "--epochs=2", f"--run_dir={given}")
    succeed("train", f"--flagfile={folder}/flags.txt", "--epochs=1", "--overwrite")
    assert not (folder / "advice.json").exists(), "these numbers were given"

    config = flags.read_command_line(Evaluate, [f"--run_dir={given}"]).config
    for name in ("inner_step_size", "inner_steps"):
        assert getattr(config, name) == advice[name]


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        (["--inner_step_size=auto", "--inner_steps=3"], {"inner_step_size"}),
        (["--inner_step_size=0.05", "--inner_steps=auto", "--head=zero"], {"inner_steps"}),
        ([*BOTH, "--adapted_layers=2"], {"inner_step_size", "inner_steps"}),
        (
            [*BOTH, "--normalization=running", "--learned_inner_step_size=per_variable"],
            {"inner_step_size", "inner_steps"},
        ),
    ],
    ids=lambda words: " ".join(sorted(words)),
)
def test_either_number_may_be_auto_and_with_any_head(small_run, tmp_path, settings, kept):
    # Batch normalisation is in conv4 alone.
    body = ["--body=conv4"] if "--normalization=running" in settings else []
    run = [*small_run.arguments, *ONE_STEP, *body, *settings, f"--run_dir={tmp_path}/run"]
    succeed("train", *run)
    advice = json.loads((tmp_path / "run" / "advice.json").read_text())
    assert advice.keys() == kept | {"reason"}
    if "inner_step_size" in kept:
        assert 0.001 < advice["inner_step_size"] < 10, "also where there are no moving averages yet"
    with (tmp_path / "run" / "metrics.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert 0 < float(row["loss"]) < 10
