"""The settings that are searched, as KerasTuner's hyperparameters by the names of options; and their values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from keras_tuner import HyperParameters as HyperParameters
from keras_tuner.engine.hyperparameters import Boolean, Choice, Float, Int

from anil_tf.config import InputError, Range, Tune

Value = float | int | bool
Setting: TypeAlias = "Float | Int | Choice | Boolean"

_DIGITS = 3  # of real values: as many as a person would type, and as survive the 32 bits of KerasTuner's messages
_BY_DEFAULT = {
    "inner_step_size": Range(0.01, 1.0),
    "inner_steps": Range(1, 20),
    "outer_step_size_body": Range(1e-4, 1e-2),
}


def make(ranges: Mapping[str, Any]) -> HyperParameters:
    """The space of some settings.

    Args:
        ranges: the name of each to its range, which is logarithmic unless it begins at 0; to its choices; or to True
            where it is on or off.
    """
    space = HyperParameters()
    for name, values in ranges.items():
        if isinstance(values, Range):
            declare = space.Int if isinstance(values.low, int) else space.Float
            declare(name, *values, sampling="log" if values.low > 0 else "linear")
        elif values is True:
            space.Boolean(name)
        else:
            space.Choice(name, list(values), ordered=True)
    return space


def from_config(config: Tune) -> HyperParameters:
    """The settings that the --search_NAME options give; without any, those that are searched by default.

    Raises:
        InputError: where none is given, and none of the default ones would change anything.
    """
    given: dict[str, Any] = {
        name.removeprefix("search_"): value
        for name, value in config.to_dict().items()
        if name.startswith("search_") and value
    }
    ranges = given or {name: _BY_DEFAULT[name] for name in _BY_DEFAULT if _matters(config, name)}
    if not ranges:
        raise InputError(
            "--search_NAME: expected one or more, received none, and none of the default ones would change "
            f"anything: {', '.join(_BY_DEFAULT)}."
        )
    return make(ranges)


def _matters(config: Tune, name: str) -> bool:
    if name == "outer_step_size_body":
        return config.train_body and config.adapted_layers != "all"
    return config.has_inner_steps


def names(space: HyperParameters) -> list[str]:
    """The names of the settings, in the order in which they are shown."""
    return [setting.name for setting in space.space]


def rounded(space: HyperParameters, values: Mapping[str, Value]) -> dict[str, Value]:
    """The values of the settings as they are used, without what else KerasTuner keeps beside them.

    Example:
        >>> rounded(make({"inner_step_size": Range(0.01, 1.0)}), {"inner_step_size": 0.123456, "tuner/epochs": 3})
        {'inner_step_size': 0.123}
    """
    return {
        each.name: _rounded(each, values[each.name]) for each in space.space if each.name in values
    }


def _rounded(setting: Setting, value: Value) -> Value:
    number = float(f"{value:.{_DIGITS}g}") if isinstance(setting, Float) else value
    if isinstance(setting, (Float, Int)):  # rounding may have left the range
        number = min(max(number, setting.min_value), setting.max_value)
    return type(setting.default)(number)


def outside(space: HyperParameters, values: Mapping[str, object]) -> list[str]:
    """The names of the settings whose value is missing or does not lie in the space."""
    return [each.name for each in space.space if not _contains(each, values.get(each.name))]


def _contains(setting: Setting, value: Any) -> bool:
    if isinstance(setting, (Float, Int)):
        is_number = isinstance(value, (int, float))
        return is_number and setting.min_value <= value <= setting.max_value
    return value in setting.values


def probes(space: HyperParameters, values: Mapping[str, Any]) -> list[dict[str, Value]]:
    """Settings that stand for all others where the question is whether they can be trained at all.

    Args:
        space: what is searched.
        values: a setting, which need not lie in the space.

    Returns:
        This setting, moved into the space, and with it each other value of each choice.
    """
    moved = outside(space, values)
    inside = {s.name: s.default if s.name in moved else values[s.name] for s in space.space}
    choices = [each for each in space.space if isinstance(each, (Choice, Boolean))]
    others = [(each.name, value) for each in choices for value in each.values]
    return [inside, *({**inside, n: value} for n, value in others if value != inside[n])]
