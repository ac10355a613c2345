"""One option: its default, what it accepts and its help; and `Config`, a frozen dataclass made of options.

A field that `option` makes is all that is written about an option. Flags and their help, lines of flagfiles, checks
of values, search ranges and what a finished run may change are derived from it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple, Self, TypeVar

from anil_tf.config.errors import InputError

LARGEST_INTEGER = 2**31 - 1
_METADATA = "option"
C = TypeVar("C", bound="Config")


class Range(NamedTuple):
    """From `low` to `high`, both included; written LOW:HIGH."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low!r}:{self.high!r}"


class Choices(tuple[int, ...]):
    """A few numbers to choose from; written with commas between them."""

    def __str__(self) -> str:
        return ",".join(map(str, self))


@dataclasses.dataclass(frozen=True)
class Option:
    """What is known of one option.

    Attributes:
        kind: of its values: int, float, bool, str, Range or Choices.
        default: None where it has no value unless one is given.
        help: what it is for; `--help` adds the default and what is accepted.
        lower: the smallest number accepted.
        upper: the largest.
        above_lower: whether `lower` itself is refused.
        choices: the only words accepted; empty for any.
        words: accepted beside numbers, such as "auto".
        text: what a text should be, or an example of a range or of choices.
        flag: the name of its flag; "" is the field's.
        is_directory: whether it is a path, which a flagfile keeps absolute.
        required: whether a command line must give it.
        belongs_to_run: False for what says how or where a command runs, and is no part of what a run is.
        changeable: whether adaptation at test time may do otherwise than in training.
    """

    kind: type
    default: Any
    help: str
    lower: float = -math.inf
    upper: float = math.inf
    above_lower: bool = False
    choices: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    text: str = "text"
    flag: str = ""
    is_directory: bool = False
    required: bool = False
    belongs_to_run: bool = True
    changeable: bool = False

    @property
    def accepted(self) -> str:
        """What is accepted, in words."""
        if self.choices:
            return "one of " + "|".join(self.choices)
        if self.kind is bool:
            return "true or false"
        if self.kind is str:
            return self.text
        if self.kind is Choices:
            return f"two or more integers of at least {self.lower:g}, such as {self.text}"
        if self.kind is Range:
            number = self._number_in_words(float if isinstance(self.lower, float) else int)
            return f"LOW:HIGH with LOW below HIGH, each {number}, such as {self.text}"
        return ", or ".join([self._number_in_words(self.kind), *self.words])

    def _number_in_words(self, kind: type) -> str:
        if kind is int:
            if self.upper < LARGEST_INTEGER:
                return f"an integer from {self.lower:g} to {self.upper:g}"
            return f"an integer of at least {self.lower:g}"
        most = f" and at most {self.upper:g}" if self.upper < sys.float_info.max else ""
        return f"a number {'above' if self.above_lower else 'of at least'} {self.lower:g}{most}"

    def parse(self, value: Any) -> Any:
        """A value of the option's kind, from text or from a value.

        Raises:
            ValueError: that says what is accepted.
        """
        if value is None and self.default is None:
            return None
        if self.required and value == "":
            raise ValueError(f"expected {self.accepted}, received none.")
        try:
            return self._parse(value)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"expected {self.accepted}.") from None

    def shown(self, name: str, value: Any) -> tuple[str, str]:
        """The flag with its value as an error names them: ("shots", "5"), ("noaugment", ""); ("data_dir", "") for None.

        Args:
            name: of the option.
            value: that it has.
        """
        flag = self.flag or name
        if self.kind is bool:
            return (flag if value else f"no{flag}"), ""
        return flag, "" if value is None else str(value)

    def _parse(self, value: Any) -> Any:
        if isinstance(value, str) and value in self.words:
            return value
        if self.kind is bool:
            return _boolean(value)
        if self.kind is str:
            if not isinstance(value, str) or (self.choices and value not in self.choices):
                raise ValueError
            return value
        if self.kind is Range:
            low, high = value.split(":") if isinstance(value, str) else value
            kind = float if isinstance(self.lower, float) else int
            made = Range(self._number(kind, low), self._number(kind, high))
            if not made.low < made.high:
                raise ValueError
            return made
        if self.kind is Choices:
            parts = value.split(",") if isinstance(value, str) else value
            numbers = Choices(self._number(int, part) for part in parts)
            if len(numbers) < 2 or len(set(numbers)) < len(numbers):
                raise ValueError
            return numbers
        return self._number(self.kind, value)

    def _number(self, kind: type, value: Any) -> Any:
        number = kind(value)
        is_exact = isinstance(value, str) or number == value
        is_inside = self.lower <= number <= self.upper  # False for NaN
        if not (is_exact and is_inside) or (self.above_lower and number == self.lower):
            raise ValueError
        return number


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    words = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
    if str(value).lower() not in words:
        raise ValueError
    return words[str(value).lower()]


def option(kind: type, default: Any, help: str, **details: Any) -> Any:
    """A field of a `Config`; see `Option` for the arguments.

    A number without bounds accepts integers from 1 and real numbers from 0.
    """
    if kind in (int, float):
        details.setdefault("lower", 1 if kind is int else 0.0)
        details.setdefault("upper", LARGEST_INTEGER if kind is int else sys.float_info.max)
    made = Option(kind, default, " ".join(help.split()), **details)
    return dataclasses.field(default=default, metadata={_METADATA: made})


def search_range(part: type[Config], name: str, example: str) -> Any:
    """A field --search_NAME: the range that a search takes the values of another option from.

    Args:
        part: the config that has the other option; its bounds hold for both ends of the range.
        name: of the other option.
        example: a range, as a user writes it.
    """
    searched = options(part)[name]
    help = f"Range of --{name}; logarithmic, unless LOW is 0."
    bounds = {key: getattr(searched, key) for key in ("lower", "upper", "above_lower")}
    return option(Range, None, help, text=example, **bounds)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Options with their values, checked when it is made.

    Attributes:
        given: names of the options that a user gave; the others are at their defaults.

    Raises:
        InputError: naming the option, for a value that it does not accept, and for options that contradict each other.
    """

    given: frozenset[str] = dataclasses.field(default=frozenset(), compare=False, repr=False)

    def __post_init__(self) -> None:
        """Checks each value, then all of them together."""
        for name, one in options(type(self)).items():
            value = getattr(self, name)
            try:
                object.__setattr__(self, name, one.parse(value))
            except ValueError as error:
                if value == "":
                    raise InputError(f"--{name}: {error}") from None
                raise InputError(str(error), {one.flag or name: str(value)}) from None
        for part in type(self).__mro__:
            for names, problem in vars(part).get("contradictions", lambda self: ())(self):
                raise self.error(problem, *names)

    @classmethod
    def from_given(cls, **given: Any) -> Self:
        """A config of the options that a user gave, the others being at their defaults.

        Args:
            **given: values by option.
        """
        return cls(given=frozenset(given), **given)

    def error(self, text: str, *names: str) -> InputError:
        """An `InputError` that names some options and their values.

        Args:
            text: what is wrong, and how to mend it.
            *names: the options.
        """
        known = options(type(self))
        return InputError(
            text, dict(known[name].shown(name, getattr(self, name)) for name in names)
        )

    def part(self, cls: type[C]) -> C:
        """The options of this config that another class has, as a value of that class."""
        names = {field.name for field in dataclasses.fields(cls)}
        return cls(**{name: getattr(self, name) for name in names})

    def to_dict(self) -> dict[str, Any]:
        """Option name to value."""
        return {name: getattr(self, name) for name in options(type(self))}


@contextlib.contextmanager
def input_errors(config: Config, *names: str) -> Iterator[None]:
    """Turns a ValueError raised inside into an `InputError` that names these options.

    Args:
        config: holds the values.
        *names: the options that the enclosed code builds its objects from.

    Raises:
        InputError: for any ValueError.

    Example:
        with input_errors(config, "dataset"):
            raise ValueError("unknown")      # InputError: --dataset=glyphs: unknown
    """
    try:
        yield
    except InputError:
        raise
    except ValueError as error:
        named = config.error(str(error), *names)
        # Nothing to add where the text names one of them already.
        if any(f"--{name}" in named.text for name in named.options):
            raise InputError(named.text) from error
        raise named from error


def options(cls: type[Config]) -> dict[str, Option]:
    """The options of a config class by their names, in the order of its parts."""
    fields = {field.name: field.metadata for field in dataclasses.fields(cls)}
    names = [name for part in cls.__mro__ for name in vars(part).get("__annotations__", {})]
    return {name: fields[name][_METADATA] for name in names if _METADATA in fields.get(name, {})}
