"""Groups of flags, declared to absl and shown by `--help`.

`define` does the one and `usage` the other. Where two groups of a binary hold the same flag, the
first of them decides, in both.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from absl import flags as absl_flags
from absl.flags import FLAGS

from anil_tf.flags.description import Flag
from anil_tf.flags.groups import GROUPS
from anil_tf.flags.parsers import BooleanParser

_LONG = 80  # characters of a list of choices that does not fit on a line of help


def define(*groups: str) -> None:
    """Declares the flags of some groups; declaring a group twice is harmless.

    Args:
      *groups: names of `GROUPS`, in the order in which `--help` shows them.
    """
    for group in groups:
        for flag in GROUPS[group].flags:
            if flag.name not in FLAGS:
                absl_flags.DEFINE_flag(absl_flag(flag), module_name=f"anil_tf {group}")


def absl_flag(flag: Flag) -> absl_flags.Flag:
    """The flag as absl knows it, not yet declared."""
    if isinstance(flag.parser, BooleanParser):
        boolean = absl_flags.BooleanFlag(flag.name, flag.default, flag.help)
        boolean.parser = flag.parser
        return boolean
    serializer: absl_flags.ArgumentSerializer[Any] = absl_flags.ArgumentSerializer()
    return absl_flags.Flag(flag.parser, serializer, flag.name, flag.default, flag.help)


def usage(title: str, groups: Sequence[str]) -> str:
    """The text that `--help` and `--helpfull` print.

    Args:
      title: what the binary does and how it is called.
      groups: the groups that it uses.

    Returns:
      Text of at most 100 columns, each flag with its default and what it accepts.
    """
    lines = [title.strip(), ""]
    shown: set[str] = set()
    for group in groups:
        heading, group_flags = GROUPS[group]
        lines += [heading, ""]
        for flag in group_flags:
            if flag.name not in shown:  # as in `define`, the first group that has it decides
                lines += _flag_help(flag)
        shown.update(flag.name for flag in group_flags)
        lines.append("")
    lines += ["All binaries", ""]
    lines += _entry("--flagfile=FILE", "Read flags from FILE; later flags win.")
    lines += _entry("--verbosity=0", "1 shows tracebacks and what libraries log.")
    return "\n".join(lines)


def _flag_help(flag: Flag) -> list[str]:
    if isinstance(flag.parser, BooleanParser):
        shown = f"--[no]{flag.name}"
        accepted = f"default: {'on' if flag.default else 'off'}"
    else:
        shown = f"--{flag.name}"
        accepted = flag.parser.accepted
        if len(accepted) > _LONG:
            accepted = accepted.replace("|", " | ")  # where lines may break
        if flag.default is not None:
            shown += f"={flag.default}"
    return _entry(shown, f"{flag.help} [{accepted}]")


def _entry(shown: str, text: str) -> list[str]:
    indent = " " * 6
    wrapped = textwrap.wrap(text, 96, initial_indent=indent, subsequent_indent=indent)
    return [f"  {shown}", *wrapped]
