"""One flag, described as data: its name, its default, what it accepts and its help.

The functions make the usual kinds, so that a table of flags (`groups/`) reads as one. A default of
None means that the flag has no value unless one is given.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from anil_tf.flags.parsers import (
    BooleanParser,
    ChoiceParser,
    NumberParser,
    OrAutoParser,
    Parser,
    RangeParser,
)


@dataclasses.dataclass(frozen=True)
class Flag:
    """A flag of some binary; what it accepts is in the words of its parser.

    Attributes:
      name: without the dashes.
      default: None, or a value that the parser accepts.
      parser: what reads and checks a value.
      help: what the flag is for; `--help` adds the default and what is accepted.
    """

    name: str
    default: Any
    parser: Parser
    help: str


class Group(NamedTuple):
    """The flags that a binary declares together.

    Attributes:
      heading: what `--help` shows above them.
      flags: in the order in which it shows them.
    """

    heading: str
    flags: list[Flag]


def integer(
    name: str, default: int | None, help: str, lower: int = 1, upper: int = 2**31 - 1
) -> Flag:
    """A flag with a whole number.

    Args:
      name: without the dashes.
      default: its value where none is given.
      help: what it is for.
      lower: the smallest value that is accepted.
      upper: the largest.
    """
    accepted = f"an integer of at least {lower}"
    if upper < 2**31 - 1:
        accepted = f"an integer from {lower} to {upper}"
    return Flag(name, default, NumberParser(int, accepted, lower, upper, False), help)


def real(
    name: str,
    default: float | None,
    help: str,
    lower: float = 0.0,
    upper: float = sys.float_info.max,
    open_below: bool = False,
) -> Flag:
    """A flag with a real number.

    Args:
      name: without the dashes.
      default: its value where none is given.
      help: what it is for.
      lower: the smallest value that is accepted.
      upper: the largest.
      open_below: whether `lower` itself is refused.
    """
    accepted = f"a number {'above' if open_below else 'of at least'} {lower:g}"
    if upper != sys.float_info.max:
        accepted += f" and at most {upper:g}"
    return Flag(name, default, NumberParser(float, accepted, lower, upper, open_below), help)


def or_auto(flag: Flag) -> Flag:
    """The same flag, which takes the word `auto` too."""
    return dataclasses.replace(flag, parser=OrAutoParser(flag.parser))


def boolean(name: str, default: bool, help: str) -> Flag:
    """A flag that is on or off: --NAME and --noNAME."""
    return Flag(name, default, BooleanParser(), help)


def search_range(flag: Flag, example: str) -> Flag:
    """--search_NAME: the range that a search takes the values of another flag from.

    Args:
      flag: the other flag; its bounds hold for both ends of the range.
      example: a range, as a user writes it.
    """
    assert isinstance(flag.parser, NumberParser)
    help = f"Range of --{flag.name}; logarithmic, unless LOW is 0."
    return Flag(f"search_{flag.name}", None, RangeParser(flag.parser, example), help)


def choice(name: str, default: str | None, choices: Sequence[str], help: str) -> Flag:
    """A flag with one of a few words."""
    return Flag(name, default, ChoiceParser(*choices), help)


def text(name: str, default: str | None, help: str, accepted: str = "text") -> Flag:
    """A flag with any text; `accepted` says in the help what it should be."""
    return Flag(name, default, Parser(accepted), help)
