"""A run's flags are written as a flagfile, and read back."""

import json

from tests.launched import launched


def test_settings_are_flagfile_lines_that_read_back(repository, tmp_path):
    given = ["--ways=7", "--augment", "--inner_step_size=0.25", "--adapted_layers=all"]
    given += ["--run_dir=a folder", "--overwrite", "--nodeterministic"]
    given += ["--data_dir=gs://bucket/data"]
    _, output, _ = launched(repository, *given)
    settings = json.loads(output)
    assert settings["ways"] == "--ways=7"
    assert settings["adapted_layers"] == "--adapted_layers=all"
    assert "overwrite" not in settings, "a flagfile with --overwrite would delete the run"
    assert settings["run_dir"] == f"--run_dir={repository}/a folder", "from wherever it is read"
    assert settings["data_dir"] == "--data_dir=gs://bucket/data", "no path of this machine"
    file = tmp_path / "flags.txt"
    file.write_text("\n".join(settings.values()))
    read = f"[flags.settings(GROUPS), flags.read_settings({str(file)!r}), flags.defaults(GROUPS)]"
    _, output, _ = launched(repository, f"--flagfile={file}", code=read)
    again, parsed, defaults = json.loads(output)
    assert again == parsed == settings
    changed = {name for name in settings if settings[name] != defaults.get(name)}
    assert changed == {
        "ways",
        "augment",
        "inner_step_size",
        "adapted_layers",
        "run_dir",
        "data_dir",
    }


def test_a_runs_flags_are_defaults_that_the_command_line_overrides(repository, tmp_path):
    (tmp_path / "flags.txt").write_text(
        "# comment\n--ways=7\n--shots=3\n--augment\n--notrain_body\n--gone=1\n--run_dir=old\n"
    )
    code = (
        f"(flags.defaults_from_run({str(tmp_path)!r}), [flags.FLAGS[n].value for n in "
        "('ways', 'shots', 'augment', 'train_body', 'normalization', 'run_dir')])[1]"
    )
    _, output, _ = launched(repository, "--shots=5", "--run_dir=new", code=code)
    assert json.loads(output) == [7, 5, True, False, "episode", "new"]
