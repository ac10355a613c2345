"""What a flag accepts: each parser reads one value, and says what it accepts when it cannot.

`Parser` is the base and takes any text; the others take numbers, words, and the ranges and choices
that a search draws from.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from absl import flags as absl_flags


class Parser(absl_flags.ArgumentParser):
    """Parses one value and says what is accepted when it cannot."""

    def __init__(self, accepted: str):
        self.accepted = accepted
        self.syntactic_help = accepted

    def parse(self, argument: Any) -> Any:
        """The value; a ValueError that says what is accepted where there is none."""
        try:
            return self._convert(argument)
        except (TypeError, ValueError):
            raise ValueError(f"expected {self.accepted}.") from None

    def _convert(self, argument: Any) -> Any:
        return argument


class NumberParser(Parser):
    """An integer or a real number between two bounds (both included unless said otherwise)."""

    def __init__(self, kind: type, accepted: str, lower: float, upper: float, open_below: bool):
        super().__init__(accepted)
        self._kind, self._lower, self._upper = kind, lower, upper
        self._open_below = open_below

    def _convert(self, argument: Any) -> int | float:
        value = self._kind(argument)
        inside = self._lower <= value <= self._upper  # False for NaN
        if not inside or (self._open_below and value == self._lower):
            raise ValueError
        return value


class ChoiceParser(Parser):
    """One of a few words."""

    def __init__(self, *choices: str):
        super().__init__("one of " + "|".join(choices))
        self._choices = choices

    def _convert(self, argument: Any) -> str:
        if argument not in self._choices:
            raise ValueError
        return argument


class LayerCountParser(Parser):
    """A number of layers, or `all`."""

    def __init__(self):
        super().__init__("an integer of at least 1, or all")

    def _convert(self, argument: Any) -> int | str:
        if argument == "all":
            return "all"
        if int(argument) < 1:
            raise ValueError
        return int(argument)


class OrAutoParser(Parser):
    """What another parser accepts, or `auto`."""

    def __init__(self, other: Parser):
        super().__init__(f"{other.accepted}, or auto")
        self._other = other

    def _convert(self, argument: Any) -> Any:
        return "auto" if argument == "auto" else self._other.parse(argument)


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


class RangeParser(Parser):
    """LOW:HIGH, two numbers of which another parser accepts each."""

    def __init__(self, number: NumberParser, example: str):
        super().__init__(f"LOW:HIGH with LOW below HIGH, each {number.accepted}, such as {example}")
        self._number = number

    def _convert(self, argument: Any) -> Range:
        low, high = argument if isinstance(argument, Range) else argument.split(":")
        made = Range(self._number.parse(low), self._number.parse(high))
        if not made.low < made.high:
            raise ValueError
        return made


class ChoicesParser(Parser):
    """Two or more different integers with commas between them."""

    def __init__(self, lower: int, example: str):
        super().__init__(f"two or more integers of at least {lower}, such as {example}")
        self._lower = lower

    def _convert(self, argument: Any) -> Choices:
        values = argument if isinstance(argument, Choices) else argument.split(",")
        made = Choices(int(value) for value in values)
        if len(made) < 2 or len(set(made)) < len(made) or min(made) < self._lower:
            raise ValueError
        return made


class BooleanParser(Parser):
    """True or false; absl adds --noNAME to it."""

    def __init__(self):
        super().__init__("true or false")

    def _convert(self, argument: Any) -> bool:
        return absl_flags.BooleanParser().parse(argument)
