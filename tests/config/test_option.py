"""What every option of every command accepts and refuses, and what is said of a value that it refuses."""

import math

import pytest

from anil_tf.config import Choices, InputError, Range, flags, options
from anil_tf.config.commands import COMMANDS
from anil_tf.config.option import LARGEST_INTEGER


def refused(option):
    """Texts that an option does not accept: not of its kind, beyond its bounds, none of its choices."""
    if option.kind is str:
        return ["no-such-choice"] if option.choices else []
    if option.kind is bool:
        return ["maybe", "2"]
    if option.kind is Range:
        return ["3", "2:1", "1:1", f"{option.lower - 1:g}:9", "low:high", "1:2:3"]
    if option.kind is Choices:
        return ["5", "5,5", f"{option.lower - 1:g},5", "5,a"]
    beyond = [option.lower - 1, option.lower] if option.above_lower else [option.lower - 1]
    if option.upper < LARGEST_INTEGER:
        beyond.append(option.upper + 1)
    not_numbers = ["abc", "nan", "inf", *(["2.5", "1e3"] if option.kind is int else [])]
    return [*(f"{value:g}" for value in beyond), *not_numbers]


def accepted(option):
    """Texts that an option accepts: its default, its choices and its bounds."""
    texts = [*option.choices, *option.words]
    if option.default not in (None, ""):
        texts.append(str(option.default))
    if option.kind in (int, float):
        bounds = [option.upper] if option.above_lower else [option.lower, option.upper]
        texts += [str(option.kind(bound)) for bound in bounds]
    if option.kind in (Range, Choices):
        texts.append(option.text)
    return texts


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_accepts_what_it_says_and_refuses_the_rest_in_one_line(command):
    cls = COMMANDS[command]
    for name, option in options(cls).items():
        assert option.help
        for text in accepted(option):
            value = option.parse(text)
            assert option.parse(str(value)) == option.parse(value) == value
        for text in refused(option):
            argument = f"--{option.flag or name}={text}"
            with pytest.raises(InputError) as error:
                flags.read_command_line(cls, [argument])
            assert error.value.on_command_line() == f"{argument}: expected {option.accepted}."


@pytest.mark.parametrize(
    ("name", "text", "value", "words"),
    [
        ("ways", "7", 7, "an integer of at least 2"),
        ("inner_step_size", "0.25", 0.25, "a number above 0, or auto"),
        ("inner_steps", "0", 0, "an integer of at least 0, or auto"),
        ("inner_steps", "auto", "auto", "an integer of at least 0, or auto"),
        ("adapted_layers", "all", "all", "an integer of at least 1, or all"),
        ("weight_averaging", "1e-3", 0.001, "a number of at least 0 and at most 0.999999"),
        ("augment", "True", True, "true or false"),
        ("head_initialization", "zero", "zero", "one of free|zero|prototype|ridge|nil"),
        ("data_dir", "a folder", "a folder", "a directory"),
    ],
)
def test_accepted_values_and_the_words_for_them(name, text, value, words):
    option = options(COMMANDS["train"])[name]
    parsed = option.parse(text)
    assert parsed == value and type(parsed) is type(value)
    assert option.accepted == words


def test_ranges_and_choices_are_written_as_they_are_read():
    known = options(COMMANDS["tune"])
    assert known["search_inner_steps"].parse("1:20") == Range(1, 20)
    assert known["search_inner_l2"].parse("0:1e-1") == Range(0.0, 0.1)
    assert known["search_filters"].parse("16,32") == Choices([16, 32])
    assert "above 0" in known["search_inner_step_size"].accepted, "the bounds of the option itself"
    assert known["trials"].parse(None) is None, "no value unless one is given"


@pytest.mark.parametrize("value", [2.5, math.nan, None, "x", [3]])
def test_values_from_python_are_checked_like_text(value):
    with pytest.raises(InputError, match="^ways=.*: expected an integer of at least 2"):
        COMMANDS["train"](run_dir="run", ways=value)
