"""bin/reproduce.py, on small experiments that take no time, and (slow) on the paper's at the smoke scale."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from absl.testing import flagsaver

from anil_tf import flags as all_flags
from anil_tf.flags import FLAGS, InputError
from anil_tf.study import experiments, scale
from tests.study import fake_experiment, light_worker

FILES = {"results.csv", "claims.json", "values.png", "report.md", "about.json"}
ALL = ["--experiment=all", "--dataset=glyphs", "--scale=smoke"]


def _start(repository, *command):
    return subprocess.Popen(
        [sys.executable, *map(str, command)],
        cwd=repository,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _run(repository, *command):
    """Returns (exit code, output, error)."""
    process = _start(repository, *command)
    output, error = process.communicate(timeout=1200)
    return process.returncode, output, error


def _names(folder):
    return {path.name for path in folder.iterdir()}


def _wait_for(condition):
    deadline = time.monotonic() + 300
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)


@pytest.fixture(scope="module")
def study(repository, tmp_path_factory):
    """A study of two small experiments that was killed and went on: its folder, and what was seen on the way."""
    folder = tmp_path_factory.mktemp("study")
    out, marks = folder / "out", folder / "marks"
    script = repository / "tests" / "study" / "fake_experiment.py"
    command = [script, marks, 1, *ALL, f"--output_dir={out}"]
    process = _start(repository, *command)
    _wait_for(lambda: len(list(out.glob("cells/*.json"))) >= 2)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=120)
    killed = {
        "code": process.returncode,
        "error": error,
        "cells": [json.loads(path.read_text()) for path in out.glob("cells/*")],
        "begun": marks.read_text().splitlines(),
    }
    code, output, error = _run(repository, *command)
    begun = marks.read_text().splitlines()[len(killed["begun"]) :]
    return out, killed, {"code": code, "output": output, "error": error, "begun": begun}


def test_a_killed_study_exits_75_and_the_same_command_goes_on(study):
    _, killed, again = study
    assert killed["code"] == 75, killed["error"]
    assert killed["error"].strip().endswith("The same command goes on.")
    assert "Traceback" not in killed["error"]
    assert 2 <= len(killed["cells"]) < 4
    assert (again["code"], again["error"]) == (0, "")
    done = {cell["settings"]["seed"] for cell in killed["cells"]}
    assert f"4 cells, {len(done)} of them finished" in again["output"]
    assert sorted(map(int, again["begun"])) == sorted(set(range(4)) - done), "none is run twice"


def test_a_study_leaves_claims_pictures_reports_and_a_page(study):
    out, _, again = study
    assert _names(out) == {"README.md", "about.json", "cells", "batch_size", "sample_size"}
    for name in ("batch_size", "sample_size"):
        assert _names(out / name) == FILES
        (claim,) = json.loads((out / name / "claims.json").read_text())
        assert (claim["experiment"], claim["verdict"]) == (name, "supported")
        assert claim["statistic"] == 11.5
        command = f"--experiment={name} --scale=smoke --dataset=glyphs"
        assert command in (out / name / "report.md").read_text()
        assert f"{name} (smoke)" in again["output"]
    page = (out / "README.md").read_text()
    assert "About batch_size" in page and "sample_size/report.md" in page
    about = json.loads((out / "about.json").read_text())
    assert about["cells"] == 4 and about["seconds"] > 2 and about["cell_seconds"] >= 4
    assert {"hardware", "commit", "versions", "scale", "dataset"} <= set(about)


@pytest.fixture
def main(repository, monkeypatch):
    """Calls the binary's main in this process, where TensorFlow need not be imported again."""
    monkeypatch.syspath_prepend(repository / "bin")
    script = importlib.import_module("reproduce")
    all_flags.define(*script.GROUPS)

    def call(*arguments):
        with flagsaver.flagsaver():
            FLAGS(["reproduce.py", "--dataset=fc100", *arguments])
            return script.main()

    return call


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """Puts the small experiments in the place of the paper's; a file FAIL in the folder makes a cell fail."""
    made = fake_experiment.Experiments(arguments=(str(tmp_path / "marks"), 0.0))
    monkeypatch.setattr(experiments, "NAMES", fake_experiment.NAMES)
    monkeypatch.setattr(experiments, "EXPERIMENTS", made)
    return tmp_path


def test_results_are_enough_to_make_the_rest_anew(study, main, fake):
    out, _, _ = study
    made = {path for path in out.rglob("*.*") if path.name in {"claims.json", "report.md"}}
    before = {path: path.read_text() for path in made}
    for path in made:
        path.unlink()
    assert main("--experiment=all", "--from_results", f"--output_dir={out}") == 0
    assert {path: path.read_text() for path in made} == before
    assert not (fake / "marks").exists(), "nothing was run"


def test_claims_follow_the_table(study, main, fake):
    folder = study[0] / "sample_size"
    table = folder / "results.csv"
    before = table.read_text()
    table.write_text(before.replace(",13.0", ",-90.0"))
    assert main("--experiment=sample_size", "--from_results", f"--output_dir={folder}") == 0
    assert json.loads((folder / "claims.json").read_text())[0]["verdict"] == "inconclusive"
    table.write_text(before)


@pytest.mark.parametrize(
    "changed", ["--scale=small", "--dataset=omniglot", "--experiment=batch_size"]
)
def test_a_folder_with_other_results_is_refused(study, main, fake, changed):
    with pytest.raises(InputError, match="--scale=smoke.*expected another directory") as error:
        main(*ALL, f"--output_dir={study[0]}", changed)
    assert changed in str(error.value)


def test_a_cell_that_fails_spoils_its_own_experiment_only(main, fake, capsys, monkeypatch):
    monkeypatch.setattr(importlib.import_module("reproduce"), "_check_data", lambda: None)
    (fake / "FAIL").touch()
    out = fake / "out"
    with light_worker.as_main():
        assert main(*ALL, f"--output_dir={out}") == 1
    output, error = capsys.readouterr()
    assert "1 of 5 cells failed" in error.splitlines()[-1]
    assert _names(out / "batch_size") == FILES
    assert not (out / "sample_size").exists()
    assert "batch_size (smoke)" in output


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--experiment=all"], ["--output_dir"]),
        (["--output_dir=OUT"], ["--experiment"]),
        (["--experiment=figure_1", "--output_dir=OUT"], ["figure_1", "strongly_convex", "all"]),
        (["--experiment=all", "--scale=tiny", "--output_dir=OUT"], ["tiny", "smoke"]),
    ],
    ids=str,
)
def test_bad_flags_are_named(repository, tmp_path, flags, words):
    flags = [flag.replace("OUT", str(tmp_path / "OUT")) for flag in flags]
    code, output, error = _run(repository, "bin/reproduce.py", *flags)
    assert (code, output) == (2, "")
    assert len(error.strip().splitlines()) == 1
    for word in words:
        assert word in error
    assert not (tmp_path / "OUT").exists()


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--from_results", "--from_results: expected a results.csv"),
        ("--dataset=fc1000", "--dataset=fc1000.*fc100"),
        ("--dataset=sinusoid", "--dataset=sinusoid.*with classes"),
    ],
)
def test_bad_input_is_named(main, fake, flag, words):
    with pytest.raises(InputError, match=words):
        main("--experiment=all", f"--output_dir={fake}/out", flag)
    assert not (fake / "out").exists()


def test_the_flag_knows_every_experiment_and_scale():
    flags = {flag.name: flag.parser.accepted for flag in all_flags.GROUPS["study"][1]}
    assert flags["experiment"] == "one of " + "|".join([*experiments.EXPERIMENTS, "all"])
    assert flags["scale"] == "one of " + "|".join(scale.SCALES)
    for name in experiments.EXPERIMENTS:
        assert experiments.EXPERIMENTS[name].name == name
    with pytest.raises(KeyError):
        experiments.EXPERIMENTS["figure_1"]


@pytest.mark.slow
def test_the_study_at_the_smoke_scale(repository, tmp_path):
    """All of it, on data that are built in."""
    code, _, error = _run(repository, "bin/reproduce.py", *ALL, f"--output_dir={tmp_path}")
    assert code == 0, error
    for name in experiments.NAMES:
        assert {"results.csv", "claims.json", "report.md"} <= _names(tmp_path / name)
        claims = json.loads((tmp_path / name / "claims.json").read_text())
        assert len(claims) == len(experiments.EXPERIMENTS[name].rules)
        pictures = list((tmp_path / name).glob("*.png"))
        assert pictures and all(os.path.getsize(picture) < 120_000 for picture in pictures)
    assert (tmp_path / "README.md").exists()


@pytest.mark.slow
def test_the_advice_at_the_smoke_scale(repository, tmp_path):
    """It is asked for by name, and stands on the page of a study that lies around it."""
    flags = ["--experiment=advice", "--dataset=glyphs", "--scale=smoke"]
    code, output, error = _run(
        repository, "bin/reproduce.py", *flags, f"--output_dir={tmp_path}/advice_glyphs"
    )
    assert code == 0, error
    assert "advice (smoke): Of 1 claim" in output
    assert {"advice.png", "report.md"} <= _names(tmp_path / "advice_glyphs")
    again = ["--experiment=all", "--from_results", f"--output_dir={tmp_path}"]
    code, _, error = _run(repository, "bin/reproduce.py", *again)
    assert code == 0, error
    assert "(advice_glyphs/advice.png)" in (tmp_path / "README.md").read_text()
