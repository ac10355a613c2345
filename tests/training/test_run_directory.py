"""What may be done with a run directory."""

import dataclasses

import pytest

from anil_tf.config import Train
from anil_tf.training import RunDirectory

CONFIG = Train(ways=5, epochs=3, normalization="support", run_dir="a")


def changed(**changes):
    return dataclasses.replace(CONFIG, **changes)


@pytest.fixture
def run(tmp_path):
    directory = RunDirectory(str(tmp_path / "run"))
    directory.prepare(CONFIG)
    return directory


def test_the_same_settings_and_more_epochs_go_on(run):
    assert run.read(Train, run_dir="a") == CONFIG
    run.check(CONFIG)
    run.check(changed(epochs=4, run_dir="elsewhere"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ways": 10}, "--ways=5, received --ways=10"),
        ({"epochs": 2}, "--epochs=3, received --epochs=2"),
        ({"augment": True}, "--noaugment, received --augment"),
        ({"training_ways": 9, "head_initialization": "zero"}, "--head=free, received --head=zero"),
    ],
)
def test_a_difference_is_named(run, changes, said):
    with pytest.raises(ValueError, match=said):
        run.check(changed(**changes))


def test_flags_without_a_default_are_compared_both_ways(run):
    base = changed(head_initialization="zero")
    given = dataclasses.replace(base, training_ways=9)
    for before, now, said in (
        (base, given, "made with no --training_ways, received --training_ways=9"),
        (given, base, "made with --training_ways=9, received no --training_ways"),
    ):
        run.prepare(before)
        with pytest.raises(ValueError, match=said):
            run.check(now)


def test_a_flag_that_the_run_did_not_know_had_its_default(run):
    path = run.file("flags.txt")
    with open(path) as file:
        lines = [line for line in file if "pooling" not in line]
    with open(path, "w") as file:
        file.writelines(lines)
    run.check(CONFIG)
    with pytest.raises(ValueError, match="received --pooling=average"):
        run.check(changed(pooling="average"))


def test_only_a_constant_schedule_can_be_extended(run):
    cosine = changed(schedule="cosine")
    run.prepare(cosine)
    run.check(cosine)
    with pytest.raises(ValueError, match="received --epochs=4 .only a run with --schedule=const"):
        run.check(dataclasses.replace(cosine, epochs=4))


def test_another_folder_of_images_is_another_data_set(run, tmp_path):
    images, link = tmp_path / "images", tmp_path / "link"
    images.mkdir()
    link.symlink_to(images)
    run.prepare(changed(data_dir=str(images)))
    run.check(changed(data_dir=str(tmp_path)))  # where TFDS' data lie does not matter
    folder = changed(dataset="image_folder", data_dir=str(images))
    run.prepare(folder)
    run.check(dataclasses.replace(folder, data_dir=str(link)))
    with pytest.raises(ValueError, match=f"--data_dir={images}, received --data_dir"):
        run.check(dataclasses.replace(folder, data_dir=str(tmp_path)))


def test_only_a_run_or_a_start_that_was_killed_at_once_may_be_there(tmp_path):
    (tmp_path / "flags.txt.tmp").write_text("--wa")
    assert not RunDirectory(str(tmp_path)).exists
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="holds no run"):
        RunDirectory(str(tmp_path))
    with pytest.raises(ValueError, match="found a file"):
        RunDirectory(str(tmp_path / "thesis.tex"))


def test_advice_is_kept_until_the_run_is_overwritten(tmp_path):
    (tmp_path / "advice.json").write_text('{"inner_ste')  # killed before there was a run
    directory = RunDirectory(str(tmp_path))
    assert directory.advice == {}
    directory.prepare(CONFIG, advice={"inner_steps": 3})
    assert RunDirectory(str(tmp_path)).advice == {"inner_steps": 3}
    directory.prepare(CONFIG)
    assert directory.advice == {"inner_steps": 3}
    directory.prepare(CONFIG, overwrite=True)
    assert directory.advice == {}


def test_overwriting_deletes_the_run_and_nothing_else(run, tmp_path):
    folder = tmp_path / "run"
    (folder / "notes.txt").write_text("mine")
    (folder / "metrics.csv").write_text("epoch\n")
    (folder / "checkpoints").mkdir()
    run.finish(3)
    assert run.finished_epochs == 3
    run.prepare(changed(ways=2), overwrite=True)
    assert sorted(p.name for p in folder.iterdir()) == ["flags.txt", "notes.txt"]
    assert run.finished_epochs == 0
    assert "--ways=2\n" in (folder / "flags.txt").read_text()
