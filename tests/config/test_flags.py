"""Configs from command lines, and --help."""

import pytest

from anil_tf.config import InputError, flags, options
from anil_tf.config.commands import COMMANDS


def read(*arguments, command="train"):
    return flags.read_command_line(COMMANDS[command], ["--run_dir=run", *arguments])


def test_a_command_line_gives_a_config_and_notes_what_was_given():
    command = read("--ways=3", "--noaugment", "--head", "zero", "-seed=4", "--verbosity=1")
    config = command.config
    assert (config.ways, config.augment, config.head_initialization, config.seed) == (
        *(3, False, "zero"),
        4,
    )
    assert config.given == {"run_dir", "ways", "augment", "head_initialization", "seed"}
    assert (command.verbosity, read().verbosity) == (1, 0)


def test_flagfiles_and_presets_are_read_where_they_stand_and_later_flags_win(tmp_path):
    file = tmp_path / "some.flags"
    file.write_text("# a comment\n--ways=7\n--shots=2\n\n--augment\n")
    config = read(f"--flagfile={file}", "--ways=8").config
    assert (config.ways, config.shots, config.augment) == (8, 2, True)
    assert read("--ways=8", f"--flagfile={file}").config.ways == 7
    assert read("--preset=quickstart").config.filters == 32
    assert read("--preset=quickstart", "--filters=4").config.filters == 4


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("--wayz=3", "--wayz: unknown flag; did you mean --ways?"),
        ("--nonsense=5", "--nonsense: unknown flag; --help lists the flags of this command."),
        ("--ways", "--ways: expected a value, received none."),
        ("--flagfile=missing.flags", "--flagfile: expected a readable file; .*missing.flags"),
        ("--preset=quickstrat", "preset=quickstrat: expected one of .*quickstart"),
        ("--preset=../presets/quickstart", "expected one of .*quickstart"),
        ("ways=3", "ways=3: expected only flags; a flag is written --name=value."),
        ("--episodes=3", "--episodes: unknown flag"),
    ],
)
def test_a_bad_command_line_gets_one_line_that_helps(argument, said):
    with pytest.raises(InputError, match=said.replace("?", r"\?")) as error:
        read(argument)
    assert "\n" not in error.value.on_command_line()


@pytest.mark.parametrize("command", COMMANDS)
def test_help_lists_each_flag_once_with_its_default_and_what_it_accepts(command):
    lines = flags.usage(COMMANDS[command], f"anil_tf {command}").splitlines()
    assert f"anil_tf {command} " in "\n".join(lines[:3]) and max(map(len, lines)) <= 96
    text = " ".join(" ".join(lines).split()).replace(" | ", "|")
    for name, option in options(COMMANDS[command]).items():
        flag = option.flag or name
        shown = f"  --[no]{flag}" if option.kind is bool else f"  --{flag}"
        entries = [line for line in lines if line.split("=")[0] == shown]
        assert len(entries) == 1, flag
        if option.kind is not bool:
            assert option.default in (None, "") or entries == [f"{shown}={option.default}"]
            assert option.accepted in text
    for flag in ("--flagfile=FILE", "--preset=NAME", "--verbosity=0"):
        assert f"  {flag}" in lines


def test_an_export_has_a_normalization_of_its_own():
    lines = flags.usage(COMMANDS["export"], "anil_tf export").splitlines()
    shown = [line for line in lines if "  --normalization" in line]
    assert shown == ["  --normalization=support"], "what export does, not train"
