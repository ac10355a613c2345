"""Measures at a tiny size, writes what was found, and refuses before anything is measured."""

import json
import sys

import pytest

from benchmarks import input_share
from tests.command_line import refuse, succeed

TINY = {
    "meta_batch_size": 2,
    "side": 16,
    "filters": 4,
    "classes": 6,
    "images_per_class": 16,
    "batches": 2,
    "repeats": 3,
}


def test_the_input_share_is_that_of_the_times_and_names_the_machine(tmp_path, monkeypatch):
    measured = input_share.measure(**TINY)
    monkeypatch.setattr(input_share, "measure", lambda: measured)
    answer = succeed("benchmark", "--suite=input", f"--output={tmp_path}/out.json")
    result = json.loads((tmp_path / "out.json").read_text())
    assert result["suite"] == "input"
    assert {"input_share", "spread", "hardware", "versions", "commit"} <= set(result)
    spread = result["spread"]
    assert spread["lower_quartile"] <= result["input_share"] <= spread["upper_quartile"]
    assert result["input_ms"] > 0 and result["step_ms"] > 0
    assert result["processor_time_share"] > 0
    assert result["versions"]["tensorflow"] and result["hardware"]["cores"] >= 1
    assert answer.output == input_share.sentence(measured) + "\n"
    spread = {"lower_quartile": 0.011, "upper_quartile": 0.014, "repeats": 3}
    said = input_share.sentence(measured | {"input_share": 0.0123, "spread": spread})
    assert "Share 1.23 % (median of 3, quartiles 1.10 to 1.40 %" in said
    assert "goal: at most 2 %" in said and "\n" not in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--suite=speed"], "--suite=speed: expected one of input.step.deploy"),
        ([], "--output: expected a file in a directory that exists, received none"),
        (["--output=no/such/folder/x.json"], "--output: .*received no/such/folder/x.json"),
        (
            ["--output={tmp}/x.json", "--pytorch={tmp}/python"],
            "--pytorch=.*with PyTorch and higher",
        ),
    ],
)
def test_bad_flags_get_one_line_before_anything_is_measured(arguments, said, tmp_path):
    refuse(said, "benchmark", *(argument.format(tmp=tmp_path) for argument in arguments))
    assert not list(tmp_path.iterdir())


def test_outside_of_the_clone_it_says_where_the_measurements_are(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "benchmarks.input_share", None)
    said = "not installed with the package; run python bin/benchmark.py in a clone"
    refuse(said, "benchmark", f"--output={tmp_path}/x.json")
