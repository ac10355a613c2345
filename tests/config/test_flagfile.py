"""A config is written as a flagfile, and read back."""

import os
from pathlib import Path

import pytest

from anil_tf.config import InputError, Train, Training, flagfile, flags


def test_what_is_written_reads_back(tmp_path):
    given = ["--ways=7", "--augment", "--inner_step_size=0.25", "--adapted_layers=all"]
    given += ["--run_dir=a folder", "--overwrite", "--nodeterministic", "--inner_steps=auto"]
    given += ["--data_dir=gs://bucket/data"]
    config = flags.read_command_line(Train, given).config
    lines = flagfile.lines(config)
    assert lines["ways"] == "--ways=7" and lines["adapted_layers"] == "--adapted_layers=all"
    assert lines["deterministic"] == "--nodeterministic" and "training_ways" not in lines
    assert "overwrite" not in lines, "a flagfile with --overwrite would delete the run"
    assert lines["run_dir"] == f"--run_dir={os.getcwd()}/a folder", "from wherever it is read"
    assert lines["data_dir"] == "--data_dir=gs://bucket/data", "no path of this machine"
    file = tmp_path / "flags.txt"
    file.write_text(flagfile.text(config, "Two lines\nof heading"))
    assert file.read_text().startswith("# Two lines\n# of heading\n--")
    for again in (
        flagfile.read(Train, file),
        flags.read_command_line(Train, [f"--flagfile={file}"]).config,
    ):
        assert flagfile.lines(again) == lines
    changed = flagfile.differences(config, Train(run_dir=config.run_dir))
    assert changed == {
        "ways": ("--ways=7", "--ways=5"),
        "augment": ("--augment", "--noaugment"),
        "inner_step_size": ("--inner_step_size=0.25", "--inner_step_size=0.1"),
        "inner_steps": ("--inner_steps=auto", "--inner_steps=5"),
        "adapted_layers": ("--adapted_layers=all", "--adapted_layers=1"),
        "data_dir": ("--data_dir=gs://bucket/data", None),
    }
    repeated = flagfile.given_lines(config)
    assert set(repeated) == {*given, lines["run_dir"]} - {"--run_dir=a folder"}


def test_lines_of_other_versions_are_passed_over_and_missing_ones_are_defaults(tmp_path):
    file = tmp_path / "flags.txt"
    file.write_text("# old\n--ways=7\n--augment\n--notrain_body\n--gone=1\n--nogone\n--run_dir=x\n")
    config = flagfile.read(Training, file, shots=3)
    assert (config.ways, config.shots, config.augment, config.train_body) == (7, 3, True, False)
    assert config.normalization == "episode" and config.given == frozenset()


def test_a_damaged_line_is_named_with_its_file(tmp_path):
    file = tmp_path / "flags.txt"
    file.write_text("--ways=many\n")
    with pytest.raises(InputError, match=f"ways=many: {file}: expected an integer"):
        flagfile.read(Training, file)


def test_a_folder_has_several_names(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    assert flagfile.is_same_folder(str(tmp_path), f"{tmp_path}/link/.")
    assert flagfile.is_same_folder(str(Path.home()), "~") and flagfile.is_same_folder(None, None)
    assert not flagfile.is_same_folder(str(tmp_path), None)
