"""Runs small experiments that take no time, and (slow) the paper's at the smoke scale."""

import json
import os
import signal
import threading
import time

import pytest

from anil_tf.commands import reproduce as command
from anil_tf.config.study import EXPERIMENTS
from anil_tf.study import experiments, scale
from tests.command_line import refuse, start, succeed
from tests.study import fake_experiment, light_worker

FILES = {"results.csv", "claims.json", "values.png", "report.md", "about.json"}
ALL = ["--experiment=all", "--dataset=glyphs", "--scale=smoke"]


def names(folder):
    return {path.name for path in folder.iterdir()}


def signal_after_two_cells(out):
    """Stops this process as SIGTERM does."""
    deadline = time.monotonic() + 300
    while len(list(out.glob("cells/*.json"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study of two small experiments that was stopped and went on: its folder, and what was seen on the way."""
    folder = tmp_path_factory.mktemp("study")
    out, marks = folder / "out", folder / "marks"
    run = ["reproduce", *ALL, f"--output_dir={out}"]
    with (
        pytest.MonkeyPatch.context() as patched,
        fake_experiment.in_the_place_of_the_papers(marks, seconds=1.0),
        light_worker.as_main(),
    ):
        patched.setattr(command, "_check_data", lambda config: None)
        thread = threading.Thread(target=signal_after_two_cells, args=[out])
        thread.start()
        stopped = start(*run)
        thread.join()
        cells = [json.loads(path.read_text()) for path in out.glob("cells/*")]
        begun = marks.read_text().splitlines()
        again = start(*run)
    return out, (stopped, cells), (again, marks.read_text().splitlines()[len(begun) :])


@pytest.fixture
def fake(tmp_path):
    """Puts the small experiments in the place of the paper's; a file FAIL in the folder makes a cell fail."""
    with fake_experiment.in_the_place_of_the_papers(tmp_path / "marks"):
        yield tmp_path


def test_a_stopped_study_exits_75_and_the_same_command_goes_on(study):
    _, (stopped, cells), (again, begun) = study
    assert stopped.code == 75, stopped
    assert stopped.error.strip().endswith("The same command goes on.")
    assert 2 <= len(cells) < fake_experiment.SEEDS
    assert (again.code, again.error) == (0, "")
    done = {cell["settings"]["seed"] for cell in cells}
    assert f"4 cells, {len(done)} of them finished" in again.output
    assert sorted(map(int, begun)) == sorted(set(range(4)) - done), "none is run twice"


def test_a_study_leaves_claims_pictures_reports_and_a_page(study):
    out, _, (again, _) = study
    assert names(out) == {"README.md", "about.json", "cells", "batch_size", "sample_size"}
    for name in ("batch_size", "sample_size"):
        assert names(out / name) == FILES
        (claim,) = json.loads((out / name / "claims.json").read_text())
        assert (claim["experiment"], claim["verdict"]) == (name, "supported")
        assert claim["statistic"] == 11.5
        repeats = f"--experiment={name} --scale=smoke --dataset=glyphs"
        assert repeats in (out / name / "report.md").read_text()
        assert f"{name} (smoke)" in again.output
    page = (out / "README.md").read_text()
    assert "About batch_size" in page and "sample_size/report.md" in page
    about = json.loads((out / "about.json").read_text())
    assert about["cells"] == 4 and about["seconds"] > 2 and about["cell_seconds"] >= 4
    assert {"hardware", "commit", "versions", "scale", "dataset"} <= set(about)


def test_results_are_enough_to_make_the_rest_anew(study, fake):
    out = study[0]
    made = {path for path in out.rglob("*.*") if path.name in {"claims.json", "report.md"}}
    before = {path: path.read_text() for path in made}
    for path in made:
        path.unlink()
    succeed("reproduce", "--experiment=all", "--from_results", f"--output_dir={out}")
    assert {path: path.read_text() for path in made} == before
    assert not (fake / "marks").exists(), "nothing was run"


def test_claims_follow_the_table(study, fake):
    folder = study[0] / "sample_size"
    table = folder / "results.csv"
    before = table.read_text()
    table.write_text(before.replace(",13.0", ",-90.0"))
    where = f"--output_dir={folder}"
    succeed("reproduce", "--experiment=sample_size", "--from_results", where)
    assert json.loads((folder / "claims.json").read_text())[0]["verdict"] == "inconclusive"
    table.write_text(before)
    refuse("holds results of", "reproduce", "--experiment=batch_size", "--from_results", where)


def test_a_table_that_cannot_be_judged_leaves_the_others(study, fake):
    table = study[0] / "sample_size" / "results.csv"
    before = table.read_text()
    table.write_text(before.replace("value", "nothing"))
    answer = start("reproduce", "--experiment=all", "--from_results", f"--output_dir={study[0]}")
    table.write_text(before)
    assert answer.code == 1 and "batch_size (smoke)" in answer.output
    assert "sample_size: " in answer.error and answer.error.count("\n") == 1


@pytest.mark.parametrize(
    "changed", ["--scale=small", "--dataset=omniglot", "--experiment=batch_size"]
)
def test_a_folder_with_other_results_is_refused(study, fake, changed):
    said = f"--scale=smoke.*expected another directory .*{changed}"
    refuse(said, "reproduce", *ALL, f"--output_dir={study[0]}", changed)


def test_a_cell_that_fails_spoils_its_own_experiment_only(fake, monkeypatch):
    monkeypatch.setattr(command, "_check_data", lambda config: None)
    (fake / "FAIL").touch()
    out = fake / "out"
    with light_worker.as_main():
        answer = start("reproduce", *ALL, f"--output_dir={out}")
    assert answer.code == 1
    assert "1 of 5 cells failed" in answer.error.splitlines()[-1]
    assert names(out / "batch_size") == FILES
    assert not (out / "sample_size").exists()
    assert "batch_size (smoke)" in answer.output


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--experiment=all"], "--output_dir: expected a directory, received none"),
        (["--output_dir={out}"], "--experiment: expected one of .*, received none"),
        (["--experiment=figure_1", "--output_dir={out}"], "=figure_1: .*strongly_convex.*all"),
        (["--experiment=all", "--scale=tiny", "--output_dir={out}"], "--scale=tiny: .*smoke"),
        (
            ["--experiment=all", "--output_dir={out}", "--from_results"],
            "--from_results: expected a results.csv",
        ),
        (
            ["--experiment=all", "--output_dir={out}", "--dataset=fc1000"],
            "--dataset=fc1000.*fc100",
        ),
        (
            ["--experiment=all", "--output_dir={out}", "--dataset=sinusoid"],
            "--dataset=sinusoid.*with classes",
        ),
    ],
    ids=str,
)
def test_bad_input_is_named(fake, flags, said):
    out = fake / "out"
    assert not refuse(said, "reproduce", *(flag.format(out=out) for flag in flags)).output
    assert not out.exists()


def test_the_options_know_every_experiment_and_scale():
    assert {one.name for one in experiments.load_all()} == set(EXPERIMENTS)
    scales = command.options(command.Reproduce)["scale"].choices
    assert scales == tuple(scale.SCALES)


@pytest.mark.slow
def test_the_study_at_the_smoke_scale(tmp_path):
    """All of it, on data that are built in."""
    succeed("reproduce", *ALL, f"--output_dir={tmp_path}")
    for one in experiments.load_all():
        if one.in_all:
            folder = tmp_path / one.name
            assert {"results.csv", "claims.json", "report.md"} <= names(folder)
            claims = json.loads((folder / "claims.json").read_text())
            assert len(claims) == len(one.claims)
            pictures = list(folder.glob("*.png"))
            assert pictures and all(os.path.getsize(picture) < 120_000 for picture in pictures)
    assert (tmp_path / "README.md").exists()


@pytest.mark.slow
def test_the_advice_at_the_smoke_scale(tmp_path):
    """It is asked for by name, and stands on the page of a study that lies around it."""
    flags = ["--experiment=advice", "--dataset=glyphs", "--scale=smoke"]
    answer = succeed("reproduce", *flags, f"--output_dir={tmp_path}/advice_glyphs")
    assert "advice (smoke): Of 1 claim" in answer.output
    assert {"advice.png", "report.md"} <= names(tmp_path / "advice_glyphs")
    succeed("reproduce", "--experiment=all", "--from_results", f"--output_dir={tmp_path}")
    assert "(advice_glyphs/advice.png)" in (tmp_path / "README.md").read_text()
