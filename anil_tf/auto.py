"""What inner_step_size=auto and inner_steps=auto stand for: measured when a run begins, then numbers.

A run keeps what was measured, and why, in DIR/advice.json; its flags.txt holds the numbers alone. So resuming measures
nothing, and whatever reads or repeats the run meets one like any other.
"""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

from anil_tf import build
from anil_tf.config import Training, input_errors
from anil_tf.config.adaptation import AUTO
from anil_tf.config.heads import HEADS
from anil_tf.episodes import Tasks
from anil_tf.learner.inner_loop import PosedProblem
from anil_tf.models.structure import is_linear
from anil_tf.theory import advice

C = TypeVar("C", bound=Training)
# How many tasks are measured, and how many at a time: fewer where every product runs the layers that adapt.
_TASKS_LINEAR, _TASKS_OTHER, _AT_A_TIME = 16, 4, 8


def resolve(config: C, network: build.Network, tasks: Tasks) -> tuple[C, dict[str, Any]]:
    """A config with numbers in the place of "auto", measured on the first training tasks.

    Args:
        config: with or without "auto".
        network: body and head with their initial weights.
        tasks: the training tasks.

    Returns:
        The config, and the advice as it is to be kept: the numbers by option, and `reason`; empty where none was asked.
    """
    names = config.measured_options
    if not names:
        return config, {}
    wanted = {
        "step_size": _number(config.inner_step_size),
        "steps": _number(config.inner_steps),
    }
    share = advice.CHEAP if is_linear(network[1]) else advice.DEAR
    with input_errors(config, *names):
        problems = training_problems(config, network, tasks)
        measurement = advice.measure(problems, **wanted, share=share)
        advised = advice.advise(measurement, **wanted, share=share)
    reason = advised.reason
    if "head_initialization" in _as_training_will_be(config, tasks):
        reason += (
            "; measured from a head of zeros, since training makes the rows of a free one alike"
        )
    numbers: dict[str, Any] = {"inner_step_size": advised.step_size, "inner_steps": advised.steps}
    resolved = dataclasses.replace(config, **numbers)
    return resolved, {name: numbers[name] for name in names} | {"reason": reason}


def training_problems(config: Training, network: build.Network, tasks: Tasks) -> list[PosedProblem]:
    """The inner problems of the first training tasks, as training poses them; what the landscape is measured on.

    Args:
        config: how the learner adapts.
        network: body and head, with the weights to measure at.
        tasks: the training tasks.

    Returns:
        The problems in batches of tasks.
    """
    count = _TASKS_LINEAR if is_linear(network[1]) else _TASKS_OTHER
    batches = tasks.replace(meta_batch_size=min(count, _AT_A_TIME))
    learner = build.make_learner(config, tasks, network, **_as_training_will_be(config, tasks))
    return [
        learner.pose(batches.batch(step)[0]) for step in range(count // batches.meta_batch_size)
    ]


def _as_training_will_be(config: Training, tasks: Tasks) -> dict[str, Any]:
    """What else a learner is measured with, so that its inner problems look like those of the training."""
    changes: dict[str, Any] = {
        "inner_steps": 1,  # neither number matters to the problems themselves
        "inner_step_size": 1.0,
        "learned_inner_step_size": "none",
    }
    if config.normalization == "running":  # moving statistics do not exist yet
        changes["normalization"] = "episode"
    stand_in = HEADS[config.head_initialization].measured_as
    if stand_in and config.frozen_in_adaptation == "none" and not tasks.regression:
        changes["head_initialization"] = stand_in
    return changes


def _number(value: float | str) -> Any:
    return None if value == AUTO else value
