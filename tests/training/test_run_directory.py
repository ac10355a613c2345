"""What may be done with a run directory."""

import pytest

from anil_tf.training import RunDirectory

SETTINGS = {
    "ways": "--ways=5",
    "epochs": "--epochs=3",
    "augment": "--noaugment",
    "normalization": "--normalization=support",
    "schedule": "--schedule=constant",
    "run_dir": "--run_dir=a",
}
DEFAULTS = SETTINGS | {"ways": "--ways=2", "dataset": "--dataset=glyphs"}
COSINE = {"schedule": "--schedule=cosine"}


@pytest.fixture
def run(tmp_path):
    directory = RunDirectory(str(tmp_path / "run"))
    directory.prepare(SETTINGS)
    return directory


def test_the_same_settings_go_on(run):
    run.check(SETTINGS, DEFAULTS)
    run.check(SETTINGS | {"epochs": "--epochs=4", "run_dir": "--run_dir=elsewhere"}, DEFAULTS)


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
        run.check(SETTINGS | {name: line}, DEFAULTS)


def test_flags_without_a_default_are_compared_both_ways(run):
    given = SETTINGS | {"training_ways": "--training_ways=9"}
    with pytest.raises(
        ValueError, match="made with no --training_ways, received --training_ways=9"
    ):
        run.check(given, DEFAULTS)
    run.prepare(given)
    with pytest.raises(
        ValueError, match="made with --training_ways=9, received no --training_ways"
    ):
        run.check(SETTINGS, DEFAULTS)


def test_a_flag_that_the_run_did_not_know_had_its_default(run):
    run.check(SETTINGS | {"new": "--nonew"}, DEFAULTS | {"new": "--nonew"})
    with pytest.raises(ValueError, match="received --new"):
        run.check(SETTINGS | {"new": "--new"}, DEFAULTS | {"new": "--nonew"})


def test_only_a_constant_schedule_can_be_extended(run):
    run.prepare(SETTINGS | COSINE)
    run.check(SETTINGS | COSINE, DEFAULTS)
    with pytest.raises(ValueError, match="received --epochs=4 .only a run with --schedule=const"):
        run.check(SETTINGS | COSINE | {"epochs": "--epochs=4"}, DEFAULTS)


def test_another_folder_of_images_is_another_data_set(run, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "images")
    here = {"data_dir": f"--data_dir={tmp_path}/images"}
    same = {"data_dir": f"--data_dir={tmp_path}/link"}
    other = {"data_dir": f"--data_dir={tmp_path}"}
    run.prepare(SETTINGS | here)
    run.check(SETTINGS | other, DEFAULTS)  # where TFDS' data lie does not matter
    folder = SETTINGS | {"dataset": "--dataset=image_folder"}
    run.prepare(folder | here)
    run.check(folder | same, DEFAULTS)
    with pytest.raises(ValueError, match=f"--data_dir={tmp_path}/images, received --data_dir"):
        run.check(folder | other, DEFAULTS)


def test_a_directory_with_something_else_in_it_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="holds no run"):
        RunDirectory(str(tmp_path))
    with pytest.raises(ValueError, match="found a file"):
        RunDirectory(str(tmp_path / "thesis.tex"))


def test_a_start_that_was_killed_at_once_is_no_obstacle(tmp_path):
    (tmp_path / "flags.txt.tmp").write_text("--wa")
    assert not RunDirectory(str(tmp_path)).exists


def test_advice_is_kept_until_the_run_is_overwritten(tmp_path):
    (tmp_path / "advice.json").write_text('{"inner_ste')  # killed before there was a run
    directory = RunDirectory(str(tmp_path))
    assert directory.advice == {}
    directory.prepare(SETTINGS, advice={"inner_steps": 3})
    assert RunDirectory(str(tmp_path)).advice == {"inner_steps": 3}
    directory.prepare(SETTINGS)
    assert directory.advice == {"inner_steps": 3}
    directory.prepare(SETTINGS, overwrite=True)
    assert directory.advice == {}


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
