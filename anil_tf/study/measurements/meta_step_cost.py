"""What a meta-step and an adaptation cost, ANIL beside MAML: seconds in turns, and evaluations by count.

All contenders live in one process, which runs alone on all cores. In each round every one of them takes one meta-step
and adapts to one task, so that whatever else the machine does falls on all of them; a time is the median over rounds.
The evaluations are those of `theory.complexity`, whose formulas are counted on the engines in its tests.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from anil_tf.episodes import Tasks
from anil_tf.models.structure import count_parameters
from anil_tf.study.cell import Row, Scalar
from anil_tf.study.timing import Steps, in_rounds, learner_and_steps, tasks_on_all_cores
from anil_tf.theory import complexity

ADAPTED_LAYERS: dict[str, int | str] = {"anil": 1, "maml": "all"}


def run(settings: dict[str, Scalar]) -> list[Row]:
    """Times ANIL and MAML in turns, and counts; for `Cell(..., alone=True)`.

    Args:
        settings: those of `training.run` but `adapted_layers`, `inner_steps`, `differentiation`, `meta_steps`,
            `checkpoints` and `evaluation_tasks`; `compared_inner_steps`, the N such as "1 5 10"; `engine_of_anil` and
            `engine_of_maml`, "explicit" or "unrolled"; `repeats`, rounds.

    Returns:
        A row for each method and N: `method`, `inner_steps`, `adapted_layers`, `differentiation`;
        `seconds_per_meta_step` and `seconds_per_adaptation`, medians over rounds, with their quartiles `..._low` and
        `..._high`; `head_parameters`, what adapts, and `body_parameters`; and the `complexity.Counts` of one task.
    """
    repeats = int(settings["repeats"])  # type: ignore[arg-type]
    tasks = tasks_on_all_cores(settings)
    made = [
        _contender(settings, tasks, method, int(steps))
        for steps in str(settings["compared_inner_steps"]).split()
        for method in complexity.METHODS
    ]
    seconds = in_rounds([steps for _, steps in made], repeats)
    return [row | taken for (row, _), taken in zip(made, seconds, strict=True)]


def _contender(
    settings: dict[str, Scalar], tasks: Tasks, method: str, steps: int
) -> tuple[Row, Steps]:
    """A method with N inner steps: what it is and what it evaluates; and what is to be timed."""
    chosen: dict[str, Any] = {
        "adapted_layers": ADAPTED_LAYERS[method],
        "inner_steps": steps,
        "differentiation": settings[f"engine_of_{method}"],
    }
    whole = settings | chosen
    alpha = float(settings["inner_step_size"])  # type: ignore[arg-type]
    learner, timed = learner_and_steps(whole, tasks, inner_step_size=alpha)
    parameters = {
        "head_parameters": count_parameters(learner.head_variables),
        "body_parameters": count_parameters(learner.body_variables),
    }
    return {"method": method} | chosen | parameters | _counts(method, tasks, chosen), timed


def _counts(method: str, tasks: Tasks, chosen: dict[str, Any]) -> dict[str, float]:
    counts = complexity.formula(
        method,
        chosen["inner_steps"],
        engine=chosen["differentiation"],
        support=tasks.ways * tasks.shots,
        queries=tasks.ways * tasks.queries,
    )
    return dataclasses.asdict(counts)
