"""The settings that are searched, by the names of train.py's flags, and the values that each may take."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras_tuner

Value = float | int | bool

_DIGITS = 3  # of real values: as many as a person would type, and as survive the 32 bits of KerasTuner's messages


@dataclasses.dataclass(frozen=True)
class Interval:
    """A setting with values from `low` to `high`, both included; logarithmic unless `low` is 0.

    Attributes:
        name: the setting.
        low: at least 0.
        high: above `low`.
        whole: whether the values are integers.
    """

    name: str
    low: float
    high: float
    whole: bool = False

    def __post_init__(self) -> None:
        """Checks the bounds."""
        if not 0 <= self.low < self.high:
            raise ValueError(
                f"{self.name}: expected 0 <= low < high, received {self.low:g} and {self.high:g}."
            )

    @property
    def logarithmic(self) -> bool:
        """Whether equal ratios, not equal differences, are equally likely."""
        return self.low > 0

    @property
    def lowest(self) -> Value:
        """The smallest value."""
        return self.plain(self.low)

    def declare(self, space: keras_tuner.HyperParameters) -> None:
        """Adds the setting to KerasTuner's space."""
        sampling = "log" if self.logarithmic else "linear"
        if self.whole:
            space.Int(self.name, int(self.low), int(self.high), sampling=sampling)
        else:
            space.Float(self.name, self.low, self.high, sampling=sampling)

    def plain(self, value: Value) -> Value:
        """The value as it is used: an integer or a number of three digits; within, as KerasTuner's may not be."""
        rounded = int(value) if self.whole else float(f"{value:.{_DIGITS}g}")
        return type(rounded)(min(max(rounded, self.low), self.high))

    def holds(self, value: object) -> bool:
        """Whether a value lies in the interval."""
        return isinstance(value, (int, float)) and self.low <= value <= self.high


@dataclasses.dataclass(frozen=True)
class Choice:
    """A setting with a few values, in their order; False and True for one that is on or off."""

    name: str
    values: tuple[int, ...]

    logarithmic = False

    @property
    def lowest(self) -> Value:
        """The first value."""
        return self.values[0]

    def declare(self, space: keras_tuner.HyperParameters) -> None:
        """Adds the setting to KerasTuner's space."""
        if self.values == (False, True):
            space.Boolean(self.name)
        else:
            space.Choice(self.name, list(self.values), ordered=True)

    def plain(self, value: Value) -> Value:
        """The value as it is used."""
        return bool(value) if self.values == (False, True) else int(value)

    def holds(self, value: object) -> bool:
        """Whether a value is one of the choices."""
        return value in self.values


Setting = Interval | Choice


@dataclasses.dataclass(frozen=True)
class SearchSpace:
    """All settings that are searched.

    Example:
        >>> space = SearchSpace([Interval("inner_step_size", 0.01, 1.0), Choice("filters", (16, 32))])
        >>> space.plain({"inner_step_size": 0.123456, "filters": 32, "tuner/epochs": 3})
        {'inner_step_size': 0.123, 'filters': 32}
    """

    settings: Sequence[Setting]

    def __iter__(self) -> Iterator[Setting]:
        """The settings, in the order in which they are shown."""
        return iter(self.settings)

    @property
    def names(self) -> list[str]:
        """The names of the settings."""
        return [setting.name for setting in self.settings]

    def hyperparameters(self) -> keras_tuner.HyperParameters:
        """The space as KerasTuner takes it."""
        import keras_tuner

        space = keras_tuner.HyperParameters()
        for setting in self.settings:
            setting.declare(space)
        return space

    def plain(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """The values of the settings as they are used, without what else KerasTuner keeps beside them.

        Args:
            values: KerasTuner's values by name; a setting without one is left out.
        """
        return {
            setting.name: setting.plain(values[setting.name])
            for setting in self.settings
            if setting.name in values
        }

    def outside(self, values: Mapping[str, object]) -> list[str]:
        """The names of the settings whose value is missing or does not lie in the space."""
        return [each.name for each in self.settings if not each.holds(values.get(each.name))]

    def holds(self, values: Mapping[str, object]) -> bool:
        """Whether values for all settings lie in the space."""
        return not self.outside(values)

    def probes(self, values: Mapping[str, Any]) -> list[dict[str, Value]]:
        """Settings that stand for all others where the question is whether they can be trained at all.

        Args:
            values: a setting, which need not lie in the space.

        Returns:
            This setting, moved into the space, and with it each other value of each choice.
        """
        outside = set(self.outside(values))
        inside = {
            each.name: each.lowest if each.name in outside else values[each.name] for each in self
        }
        choices = [each for each in self if isinstance(each, Choice)]
        others = [(each.name, value) for each in choices for value in each.values]
        return [inside, *({**inside, n: value} for n, value in others if value != inside[n])]
