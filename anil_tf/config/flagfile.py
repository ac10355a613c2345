"""Configs as the lines of a flagfile, such as the flags.txt of a run: written, read back, compared."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypeVar

from anil_tf.config.errors import InputError
from anil_tf.config.option import Config, Option, options

C = TypeVar("C", bound=Config)


def lines(config: Config) -> dict[str, str]:
    """The options that make a run what it is, as lines of a flagfile.

    Args:
        config: any config.

    Returns:
        Flag name to line, such as {"ways": "--ways=5", "augment": "--noaugment"}; options without a value are left
        out, and so are those that are no part of a run. Directories are absolute, so that the lines mean the same
        wherever they are read.
    """
    made = {}
    for name, option in options(type(config)).items():
        value = getattr(config, name)
        if option.belongs_to_run and value is not None:
            flag = option.flag or name
            made[flag] = _line(flag, option, value)
    return made


def given_lines(config: Config) -> list[str]:
    """The options that a user gave, as flags: what repeats a command."""
    known = options(type(config))
    return [
        _line(option.flag or name, option, getattr(config, name))
        for name, option in known.items()
        if name in config.given and getattr(config, name) is not None
    ]


def _line(flag: str, option: Option, value: Any) -> str:
    if option.kind is bool:
        return f"--{flag}" if value else f"--no{flag}"
    if option.is_directory and "://" not in value:  # such as gs://bucket, which TFDS reads
        value = os.path.abspath(os.path.expanduser(value))
    return f"--{flag}={value}"


def text(config: Config, heading: str) -> str:
    """A flagfile that repeats a config.

    Args:
        config: any config.
        heading: what the file is, a comment of one line or several.
    """
    comment = [f"# {line}".rstrip() for line in heading.splitlines()]
    return "\n".join([*comment, *lines(config).values()]) + "\n"


def read(cls: type[C], path: str | os.PathLike[str], **changes: Any) -> C:
    """The config that a flagfile holds.

    Args:
        cls: its class. Lines of options that this class has not are left out, as are those that no version knows.
        path: the file.
        **changes: values that come before those of the file.

    Raises:
        InputError: for a value that is not accepted.
    """
    values: dict[str, Any] = {}
    known = {option.flag or name: (name, option) for name, option in options(cls).items()}
    with open(path, encoding="utf-8") as file:
        written = [line.strip() for line in file if line.startswith("--")]
    for line in written:
        flag, has_value, value = line.removeprefix("--").partition("=")
        if flag in known:
            name, option = known[flag]
            values[name] = value if has_value else "true"
        elif flag.removeprefix("no") in known and not has_value:
            values[known[flag.removeprefix("no")][0]] = "false"
    for name, value in values.items():
        option = options(cls)[name]
        try:
            values[name] = option.parse(value)
        except ValueError as error:
            raise InputError(f"{path}: {error}", {option.flag or name: value}) from None
    return cls(**(values | changes))


def differences(first: Config, second: Config) -> Mapping[str, tuple[str | None, str | None]]:
    """Options of the same name whose lines differ.

    Args:
        first: of the same class as
        second: the other.

    Returns:
        Option name to the two lines, None where there is no value.
    """
    one, other = lines(first), lines(second)
    names = {option.flag or name: name for name, option in options(type(first)).items()}
    return {
        names[flag]: (one.get(flag), other.get(flag))
        for flag in dict.fromkeys([*one, *other])
        if one.get(flag) != other.get(flag)
    }


def is_same_folder(*folders: str | None) -> bool:
    """Whether paths of options name one folder."""
    return len({folder and os.path.realpath(os.path.expanduser(folder)) for folder in folders}) == 1
