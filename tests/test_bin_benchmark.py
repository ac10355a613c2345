"""Drives bin/benchmark.py, and its suites at a tiny size."""

import json
import subprocess
import sys

import pytest

from benchmarks import input_share

TINY = {
    "meta_batch_size": 2,
    "side": 16,
    "filters": 4,
    "classes": 6,
    "images_per_class": 16,
    "batches": 2,
    "repeats": 3,
}


@pytest.fixture(scope="module")
def measured():
    return input_share.measure(**TINY)


def test_the_input_share_is_that_of_the_times_and_names_the_machine(measured):
    result = json.loads(json.dumps(measured))
    assert {"input_share", "spread", "hardware", "versions", "commit"} <= set(result)
    spread = result["spread"]
    assert spread["lower_quartile"] <= result["input_share"] <= spread["upper_quartile"]
    assert result["input_ms"] > 0 and result["step_ms"] > 0
    assert result["processor_time_share"] > 0
    assert result["versions"]["tensorflow"] and result["hardware"]["cores"] >= 1


def test_the_sentence_says_share_spread_and_goal(measured):
    said = input_share.sentence(
        measured
        | {
            "input_share": 0.0123,
            "spread": {"lower_quartile": 0.011, "upper_quartile": 0.014, "repeats": 3},
        }
    )
    assert "Share 1.23 % (median of 3, quartiles 1.10 to 1.40 %" in said
    assert "goal: at most 2 %" in said and "\n" not in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--suite=speed"], "--suite"),
        (["--suite=input", "--output=no/such/folder/x.json"], "received no/such/folder/x.json"),
    ],
)
def test_bad_flags_get_one_line_before_anything_is_measured(arguments, message, repository):
    command = [sys.executable, str(repository / "bin" / "benchmark.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr and done.stderr.count("\n") == 1
