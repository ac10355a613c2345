"""What a meta-step and an adaptation cost, ANIL beside MAML: seconds in turns, and evaluations by count.

All contenders live in one process, which runs alone on all cores. In each round every one of them takes one meta-step
and adapts to one task, so that whatever else the machine does falls on all of them; a time is the median over rounds.
The evaluations are those of `theory.complexity`, whose formulas are counted on the engines in its tests.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from anil_tf import build
from anil_tf.models.structure import count_parameters
from anil_tf.study.cell import Row
from anil_tf.study.settings import training_config
from anil_tf.study.timing import in_rounds, meta_step_and_adaptation, share_out_cores
from anil_tf.study.training import make_learner
from anil_tf.theory import complexity

ADAPTED_LAYERS: dict[str, int | str] = {"anil": 1, "maml": "all"}


def run(settings: dict[str, Any]) -> list[Row]:
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
    share_out_cores(settings["meta_batch_size"])
    tasks = build.make_tasks(training_config(settings), "train")
    rows, contenders = [], []
    for steps in map(int, settings["compared_inner_steps"].split()):
        for method in complexity.METHODS:
            chosen = {
                "adapted_layers": ADAPTED_LAYERS[method],
                "inner_steps": steps,
                "differentiation": settings[f"engine_of_{method}"],
            }
            learner = make_learner(training_config(settings, **chosen), tasks)
            contenders.append(meta_step_and_adaptation(learner, tasks))
            parameters = {
                "head_parameters": count_parameters(learner.head_variables),
                "body_parameters": count_parameters(learner.body_variables),
            }
            counts = complexity.formula(
                method,
                steps,
                engine=chosen["differentiation"],
                support=tasks.ways * tasks.shots,
                queries=tasks.ways * tasks.queries,
            )
            rows.append({"method": method} | chosen | parameters | dataclasses.asdict(counts))
    times = in_rounds(contenders, settings["repeats"])
    return [row | seconds for row, seconds in zip(rows, times, strict=True)]
