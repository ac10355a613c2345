"""Flags: what is accepted, how bad ones are answered, and the presets. TensorFlow stays out."""

import json
import subprocess
import sys

import pytest


def _run(repository, *arguments, code="flags.settings(GROUPS)", goes_on="None"):
    """Starts a binary that prints `code`'s value as JSON; returns (exit code, output, error)."""
    program = f"""
import json, sys
sys.path.insert(0, "bin")
from launch import flags, launch
import launch as module
module._import_tensorflow = lambda: None
GROUPS = ("data", "learner", "outer_loop", "run")
def main():
    print(json.dumps({code}))
launch(main, title="A title.", groups=GROUPS, goes_on={goes_on})
"""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--ways=abc", ["--ways=abc", "an integer of at least 2"]),
        ("--ways=1", ["--ways=1", "an integer of at least 2"]),
        ("--ways=2.5", ["--ways=2.5", "an integer"]),
        ("--inner_step_size=0", ["--inner_step_size=0", "a number above 0"]),
        (
            "--inner_step_size=automatic",
            ["--inner_step_size=automatic", "a number above 0, or auto"],
        ),
        ("--inner_steps=-1", ["--inner_steps=-1", "an integer of at least 0, or auto"]),
        ("--inner_step_size=nan", ["--inner_step_size=nan", "a number above 0"]),
        ("--inner_step_size=inf", ["--inner_step_size=inf", "a number above 0"]),
        ("--weight_averaging=1", ["--weight_averaging=1", "at most 0.999999"]),
        ("--head=foo", ["--head=foo", "free|zero|prototype|ridge|nil"]),
        ("--differentiation=cg", ["explicit|unrolled|implicit|first_order|truncated"]),
        ("--truncated_to=0", ["--truncated_to=0", "an integer of at least 1"]),
        ("--inner_tolerance=0", ["--inner_tolerance=0", "a number above 0"]),
        ("--adapted_layers=0", ["--adapted_layers=0", "at least 1, or all"]),
        ("--augment=maybe", ["--augment=maybe", "true or false"]),
        ("--wayz=3", ["--wayz", "--ways"]),
        ("--ways", ["--ways", "expected a value"]),
        ("--flagfile=missing.flags", ["--flagfile", "missing.flags"]),
        ("ways=3", ["ways=3", "--name=value"]),
    ],
)
def test_a_bad_flag_gets_one_line_that_helps(repository, argument, expected):
    code, output, error = _run(repository, argument)
    assert code == 2
    assert output == ""
    assert len(error.strip().splitlines()) == 1
    for words in expected:
        assert words in error


def test_settings_are_flagfile_lines_that_read_back(repository, tmp_path):
    given = ["--ways=7", "--augment", "--inner_step_size=0.25", "--adapted_layers=all"]
    given += ["--run_dir=a folder", "--overwrite", "--nodeterministic"]
    given += ["--data_dir=gs://bucket/data"]
    _, output, _ = _run(repository, *given)
    settings = json.loads(output)
    assert settings["ways"] == "--ways=7"
    assert settings["adapted_layers"] == "--adapted_layers=all"
    assert "overwrite" not in settings, "a flagfile with --overwrite would delete the run"
    assert settings["run_dir"] == f"--run_dir={repository}/a folder", "from wherever it is read"
    assert settings["data_dir"] == "--data_dir=gs://bucket/data", "no path of this machine"
    file = tmp_path / "flags.txt"
    file.write_text("\n".join(settings.values()))
    read = f"[flags.settings(GROUPS), flags.read_settings({str(file)!r}), flags.defaults(GROUPS)]"
    _, output, _ = _run(repository, f"--flagfile={file}", code=read)
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
    _, output, _ = _run(repository, "--shots=5", "--run_dir=new", code=code)
    assert json.loads(output) == [7, 5, True, False, "episode", "new"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--inner_step_size=auto", "--inner_steps=auto"], ["auto", "auto"]),
        (["--inner_step_size=auto", "--inner_steps=3"], ["auto", 3]),
        (["--inner_step_size=0.25"], [0.25, 5]),
    ],
)
def test_the_inner_loop_is_a_number_or_auto(repository, tmp_path, arguments, expected):
    code = (
        "[flags.FLAGS[n].value for n in ('inner_step_size', 'inner_steps')] "
        "+ [flags.settings(['learner'])]"
    )
    _, output, _ = _run(repository, *arguments, code=code)
    *values, settings = json.loads(output)
    assert values == expected
    file = tmp_path / "flags.txt"
    file.write_text("\n".join(settings.values()))
    _, output, _ = _run(repository, f"--flagfile={file}", code=code)
    assert json.loads(output)[:2] == expected


@pytest.mark.parametrize("argument", ["--help", "--helpfull"])
def test_help_shows_every_flag_with_what_it_accepts(repository, argument):
    code, output, error = _run(repository, argument)
    assert (code, error) == (0, "")
    for words in ("A title.", "--ways=5", "[an integer of at least 2]", "--[no]augment", "BOIL"):
        assert words in output
    assert max(len(line) for line in output.splitlines()) <= 100


def test_errors_are_mapped_to_exit_codes(repository):
    raised = {
        "flags.InputError('bad'),": 2,
        "ValueError('bad'),": 1,
        "KeyboardInterrupt(),": 1,
    }
    for error, expected in raised.items():
        code, _, text = _run(repository, code=f"(_ for _ in ()).throw(*({error}))")
        assert code == expected, text
        assert "Traceback" not in text
        assert len(text.strip().splitlines()) == 1
    code, _, text = _run(
        repository,
        code="(_ for _ in ()).throw(*(KeyboardInterrupt(),))",
        goes_on="lambda: 'More goes on.'",
    )
    assert (code, text) == (75, "-c: stopped by a signal. More goes on.\n")
    code, _, text = _run(
        repository, "--verbosity=1", code="(_ for _ in ()).throw(ValueError('bad'))"
    )
    assert code == 1
    assert "Traceback" in text


@pytest.mark.parametrize(("argument", "expected"), [("--verbosity=0", -1), ("--verbosity=1", 1)])
def test_libraries_may_log_only_when_asked_to(repository, argument, expected):
    code = "__import__('absl.logging').logging.get_verbosity()"
    _, output, _ = _run(repository, argument, code=code)
    assert json.loads(output) == expected


def test_blamed_on_names_the_flag(repository):
    code = 'exec(\'with flags.blamed_on("ways"): raise ValueError("too\\\\nmany")\')'
    exit_code, _, error = _run(repository, code=code)
    assert exit_code == 2
    assert error.strip().endswith("--ways=5: too many")


def test_presets_parse_and_say_how_they_are_run(repository):
    presets = sorted((repository / "bin" / "presets").glob("*.flags"))
    assert {preset.stem for preset in presets} >= {
        "quickstart",
        "omniglot_5way_1shot",
        "omniglot_20way_1shot",
        "fc100_5way_5shot",
        "cifar_fs_5way_5shot",
        "cifar_fs_5way_1shot",
        "mini_imagenet_5way_5shot",
        "fc100_5way_5shot_maml",
        "nil_at_test",
    }
    for preset in presets:
        text = preset.read_text()
        for heading in ("# Command:", "# Time:", "# Accuracy:"):
            assert heading in text, preset.name
        assert f"--flagfile=bin/presets/{preset.name} " in text
        code, output, error = _run(repository, f"--flagfile={preset}")
        assert code == 0, error
        given = {line for line in text.splitlines() if line.startswith("--")}
        assert given <= set(json.loads(output).values()), preset.name
