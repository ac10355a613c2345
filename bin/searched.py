"""What bin/tune.py searches, as its flags say; what would be searched in vain is refused."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import automatic
from launch import flags

if TYPE_CHECKING:
    from anil_tf.flags import Range
    from anil_tf.tuning.oracles import Budget
    from anil_tf.tuning.search_space import SearchSpace, Setting

FLAGS, InputError = flags.FLAGS, flags.InputError
_MOST_TRIALS = 20  # where neither --trials nor --minutes is given
_INNER_LOOP = ("inner_step_size", "inner_steps")
_RANGES = (*_INNER_LOOP, "inner_l2", "outer_step_size_body", "outer_step_size_head")
_DEFAULT = {
    "inner_step_size": (0.01, 1.0),
    "inner_steps": (1, 20),
    "outer_step_size_body": (1e-4, 1e-2),
}


def require_packages() -> None:
    """Refuses to begin where a package of the extra `tune` is not installed.

    Raises:
      InputError: naming it, and how to install it.
    """
    needed = {"keras_tuner": "keras-tuner"}
    if FLAGS.tuner == "bayesian":
        needed["sklearn"] = "scikit-learn"
    missing = [name for module, name in needed.items() if not importlib.util.find_spec(module)]
    if missing:
        raise InputError(
            f"--tuner={FLAGS.tuner} needs {' and '.join(missing)}, not installed here: "
            "pip install 'anil_tf[tune]', or in a clone pip install '.[tune]'."
        )


def refuse() -> None:
    """Refuses what cannot be searched, and settings that would change nothing.

    Raises:
      InputError: naming the flag.
    """
    automatic.refuse_where_undecided()
    no_steps = _why_no_steps()
    given = f"--differentiation={FLAGS.differentiation}"
    engine_is_fixed = FLAGS.differentiation in ("implicit", "truncated")
    needs_l2 = FLAGS.differentiation == "implicit" or FLAGS.head == "ridge"
    has_no_filters = FLAGS.body not in ("conv4", "smooth_conv4", "mlp")
    refused = [
        (
            "strategy",
            FLAGS.strategy == "multi_worker",
            "a search has chief and workers of its own; expected none or mirrored.",
        ),
        (
            "search_filters",
            has_no_filters,
            f"--body={FLAGS.body} has no --filters; expected another --body.",
        ),
        (
            "search_first_order",
            engine_is_fixed,
            f"the same as --differentiation=first_order, received with {given}; expected one of "
            "the two.",
        ),
        (
            "search_first_order",
            FLAGS.differentiation == "first_order",
            f"{given} leaves second derivatives out either way; expected another one.",
        ),
        ("search_first_order", no_steps, no_steps),
        *((f"search_{name}", no_steps, no_steps) for name in _INNER_LOOP),
        (
            "search_inner_l2",
            FLAGS.head == "nil",
            "--head=nil has no inner loss; expected another head.",
        ),
        (
            "search_inner_l2",
            needs_l2 and FLAGS.search_inner_l2 and FLAGS.search_inner_l2.low == 0,
            f"--head={FLAGS.head} {given} needs an inner_l2 above 0; expected LOW above 0.",
        ),
    ]
    for name, is_refused, why in refused:
        if FLAGS[name].value and is_refused:
            raise InputError(f"{FLAGS[name].serialize()}: {why}")
    if FLAGS.trial_epochs and FLAGS.trial_epochs > FLAGS.epochs:
        raise InputError(
            f"--trial_epochs={FLAGS.trial_epochs}: expected at most --epochs={FLAGS.epochs}."
        )


def _why_no_steps() -> str:
    """Why adaptation takes no steps whose size or number matters; empty where it does."""
    if FLAGS.head in ("ridge", "nil"):
        return f"--head={FLAGS.head} adapts in closed form; expected another head."
    if FLAGS.differentiation == "implicit":
        return "--differentiation=implicit goes to the minimum, whatever the steps; expected another one."
    return ""


def space() -> SearchSpace:
    """The settings that are searched.

    Raises:
      InputError: where none is given, and none of the default ones would change anything.
    """
    from anil_tf.tuning.search_space import Choice, Interval, SearchSpace

    given: dict[str, Range | tuple[float, float]] = {
        name: FLAGS[f"search_{name}"].value for name in _RANGES if FLAGS[f"search_{name}"].value
    }
    choices: list[Setting] = []
    if FLAGS.search_first_order:
        choices.append(Choice("first_order", (False, True)))
    if FLAGS.search_filters:
        choices.append(Choice("filters", tuple(FLAGS.search_filters)))
    if not given and not choices:
        given = _by_default()
    intervals = [Interval(name, *given[name], whole=name == "inner_steps") for name in given]
    return SearchSpace([*intervals, *choices])


def _by_default() -> dict[str, Any]:
    is_dead = dict.fromkeys(_INNER_LOOP, bool(_why_no_steps()))
    is_dead["outer_step_size_body"] = not FLAGS.train_body or FLAGS.adapted_layers == "all"
    alive = {name: range for name, range in _DEFAULT.items() if not is_dead[name]}
    if not alive:
        raise InputError(
            "--search_NAME: expected one or more, received none, and none of the default ones would "
            f"change anything: {', '.join(_DEFAULT)}."
        )
    return alive


def given(space: SearchSpace) -> dict[str, Any]:
    """The setting that the flags give, in the searched ranges or not.

    Args:
      space: what is searched.
    """
    return {name: FLAGS[name].value for name in space.names}


def budget() -> Budget:
    """When no further trial is begun."""
    from anil_tf.tuning.oracles import Budget

    seconds = None if FLAGS.minutes is None else 60 * FLAGS.minutes
    by_default = _MOST_TRIALS if seconds is None else None
    return Budget(FLAGS.trials or by_default, seconds)


def notes(space: SearchSpace, epochs: int) -> list[str]:
    """What a user may not expect of a new search, a line each.

    Args:
      space: what is searched.
      epochs: of the longest trial.
    """
    lines = [
        f"No trial begins with --{name}={FLAGS[name].value}, which lies outside of "
        f"--search_{name}: the setting that the flags give is not tried."
        for name in space.outside(given(space))
    ]
    if FLAGS.tuner == "hyperband" and epochs < 3:
        lines.append(
            f"--tuner=hyperband searches at random: a trial of {epochs} epochs cannot be shortened; "
            "from --trial_epochs=3 on it can."
        )
    return lines
