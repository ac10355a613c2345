"""Configs from command lines, by absl: flags are made of the options of a config, and nothing else reads them.

Imports neither TensorFlow nor Keras, so that --help and a mistyped flag are answered at once.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from absl import flags as absl_flags

from anil_tf.config.errors import InputError
from anil_tf.config.option import Config, Option, options

C = TypeVar("C", bound=Config)
PRESETS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "presets")
_WIDTH = 96  # columns of help
_LONG = 80  # characters of a list of choices that does not fit on a line of help


class Command(NamedTuple):
    """A command line, read.

    Attributes:
        config: the options, those given and the defaults.
        verbosity: 1 shows tracebacks and what libraries log.
    """

    config: Any
    verbosity: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Everywhere(Config):
    """All commands."""

    verbosity: int = dataclasses.field(
        default=0,
        metadata={
            "option": Option(
                int, 0, "1 shows tracebacks and what libraries log.", lower=-(2**31), upper=2**31
            )
        },
    )


class _Parser(absl_flags.ArgumentParser[Any]):
    """An option, as absl asks for it."""

    def __init__(self, option: Option):
        self.option = option
        self.syntactic_help = option.accepted

    def parse(self, argument: Any) -> Any:
        return self.option.parse(argument)


def read_command_line(cls: type[C], arguments: Sequence[str]) -> Command:
    """The config that a command line gives.

    Args:
        cls: the class of its options.
        arguments: without the name of the program; `--flagfile=FILE` and `--preset=NAME` among them read flags from
            files, and later flags win.

    Raises:
        InputError: in one line, for anything that is wrong with it.
    """
    values = absl_flags.FlagValues()  # type: ignore[no-untyped-call]
    names = {}
    for name, option in (options(cls) | options(_Everywhere)).items():
        names[option.flag or name] = name
        values[option.flag or name] = _absl_flag(option.flag or name, option)
    try:
        left_over = values(["", *_with_presets(arguments)])[1:]
    except absl_flags.Error as error:
        raise InputError(_explained(error)) from None
    if left_over:
        raise InputError(f"{left_over[0]}: expected only flags; a flag is written --name=value.")
    given = {field: values[flag].value for flag, field in names.items() if values[flag].present}
    verbosity = int(given.pop("verbosity", None) or 0)
    return Command(cls.from_given(**given), verbosity)


def _absl_flag(name: str, option: Option) -> absl_flags.Flag[Any]:
    """The flag of an option, without its default: only what is given is asked for."""
    if option.kind is bool:
        boolean = absl_flags.BooleanFlag(name, None, option.help)
        boolean.parser = _Parser(option)
        return boolean
    serializer: absl_flags.ArgumentSerializer[Any] = absl_flags.ArgumentSerializer()
    return absl_flags.Flag(_Parser(option), serializer, name, None, option.help)


def _with_presets(arguments: Iterable[str]) -> list[str]:
    """The command line with --preset=NAME written as the flagfile that it stands for."""
    written = []
    for argument in arguments:
        name, _, value = argument.lstrip("-").partition("=")
        if argument.startswith("-") and name == "preset":
            argument = f"--flagfile={_preset(value)}"
        written.append(argument)
    return written


def _preset(name: str) -> str:
    if name not in preset_names():
        raise InputError(f"expected one of {'|'.join(preset_names())}.", {"preset": name})
    return os.path.join(PRESETS, f"{name}.flags")


def preset_names() -> list[str]:
    """The presets that come with the package."""
    return sorted(
        file.removesuffix(".flags") for file in os.listdir(PRESETS) if file.endswith(".flags")
    )


def _explained(error: absl_flags.Error) -> str:
    """One line for what absl raised: the flag, what was received, what is accepted."""
    text = " ".join(str(error).split())
    if isinstance(error, absl_flags.UnrecognizedFlagError):
        shown = f"--{error.flagname}" if error.flagname else "a flag"
        accepted = "--help lists the flags of this command."
        if "Did you mean" in text:
            accepted = "did you mean --" + text.split("Did you mean: ")[1].split(" ?")[0] + "?"
        return f"{shown}: unknown flag; {accepted}"
    if isinstance(error, absl_flags.CantOpenFlagFileError):
        return f"--flagfile: expected a readable file; {text.removeprefix('ERROR:: ')}"
    if text.startswith("Missing value for flag "):
        return f"{text.removeprefix('Missing value for flag ')}: expected a value, received none."
    return text.removeprefix("flag ")


# ---- Help --------------------------------------------------------------------------------------------------------


def usage(cls: type[Config], program: str) -> str:
    """The text that `--help` prints.

    Args:
        cls: the class of its options; its docstring says what the command does.
        program: how the command is called.

    Returns:
        Text of at most 96 columns, each flag with its default and what it accepts.
    """
    lines = _paragraphs((cls.__doc__ or "").replace("PROGRAM", program))
    shown: set[str] = set()
    for part in sections(cls):
        lines += _paragraphs((part.__doc__ or "").rstrip().removesuffix("."))
        for name, option in own_options(part).items():
            if name not in shown:
                lines += _flag_help(option.flag or name, option)
                shown.add(name)
        lines.append("")
    lines += ["All commands", ""]
    lines += _entry("--flagfile=FILE", "Read flags from FILE; later flags win.")
    lines += _entry("--preset=NAME", f"Read flags from a preset: {', '.join(preset_names())}.")
    lines += _entry("--verbosity=0", "1 shows tracebacks and what libraries log.")
    return "\n".join(lines)


def sections(cls: type[Config]) -> list[type[Config]]:
    """The parts that a config is made of and that have options of their own, in the order in which they are named."""
    parts: list[type[Config]] = []
    for base in (cls, *cls.__bases__) if own_options(cls) else cls.__bases__:
        if issubclass(base, Config) and base is not Config:
            parts += [base] if base is cls or not sections(base) else sections(base)
    return parts or ([cls] if own_options(cls) else [])


def own_options(cls: type[Config]) -> dict[str, Option]:
    """The options that a class adds to those of its bases."""
    return {
        name: one
        for name, one in options(cls).items()
        if name in vars(cls).get("__annotations__", {})
    }


def _paragraphs(text: str) -> list[str]:
    """A docstring in lines of at most _WIDTH columns, each paragraph with an empty line after it."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return [line for one in paragraphs for line in (*textwrap.wrap(one, _WIDTH), "")]


def _flag_help(name: str, option: Option) -> list[str]:
    if option.kind is bool:
        accepted = f"default: {'on' if option.default else 'off'}"
        return _entry(f"--[no]{name}", f"{option.help} [{accepted}]")
    accepted = option.accepted
    if len(accepted) > _LONG:
        accepted = accepted.replace("|", " | ")  # where lines may break
    default = "" if option.default in (None, "") else f"={option.default}"
    return _entry(f"--{name}{default}", f"{option.help} [{accepted}]")


def _entry(shown: str, text: str) -> list[str]:
    indent = " " * 6
    wrapped = textwrap.wrap(text, _WIDTH, initial_indent=indent, subsequent_indent=indent)
    return [f"  {shown}", *wrapped]
