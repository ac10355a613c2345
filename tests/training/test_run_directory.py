"""What may be done with a run directory."""

import pytest

from anil_tf.training import RunDirectory

SETTINGS = {
    "ways": "--ways=5",
    "epochs": "--epochs=3",
    "augment": "--noaugment",
    "normalization": "--normalization=support",
    "run_dir": "--run_dir=a",
}


@pytest.fixture
def run(tmp_path):
    directory = RunDirectory(str(tmp_path / "run"))
    directory.prepare(SETTINGS)
    return directory


def test_the_same_settings_go_on(run):
    run.check(SETTINGS)
    run.check(SETTINGS | {"epochs": "--epochs=4", "run_dir": "--run_dir=elsewhere"})


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("ways", "--ways=10"),
        ("epochs", "--epochs=2"),
        ("augment", "--augment"),
        ("normalization", "--normalization=episode"),
    ],
)
def test_a_difference_is_named(run, name, line):
    with pytest.raises(ValueError, match=f"{SETTINGS[name]}, received {line}"):
        run.check(SETTINGS | {name: line})


def test_a_flag_that_the_run_did_not_know_is_no_difference(run):
    run.check(SETTINGS | {"new": "--new=1"})


def test_a_directory_with_something_else_in_it_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="holds no run"):
        RunDirectory(str(tmp_path))
    with pytest.raises(ValueError, match="found a file"):
        RunDirectory(str(tmp_path / "thesis.tex"))


def test_a_start_that_was_killed_at_once_is_no_obstacle(tmp_path):
    (tmp_path / "flags.txt.tmp").write_text("--wa")
    assert not RunDirectory(str(tmp_path)).exists


def test_overwriting_deletes_the_run_and_nothing_else(run, tmp_path):
    folder = tmp_path / "run"
    (folder / "notes.txt").write_text("mine")
    (folder / "metrics.csv").write_text("epoch\n")
    (folder / "checkpoints").mkdir()
    run.finish(3)
    assert run.finished_epochs == 3
    run.prepare(SETTINGS | {"ways": "--ways=2"}, overwrite=True)
    assert sorted(p.name for p in folder.iterdir()) == ["flags.txt", "notes.txt"]
    assert run.finished_epochs == 0
    assert "--ways=2\n" in (folder / "flags.txt").read_text()
