"""What a meta-step and an adaptation cost, ANIL beside MAML: seconds in turns, and evaluations by count.

All contenders live in one process, which runs alone on all cores. In each round every one of them takes one meta-step
and adapts to one task, so that whatever else the machine does falls on all of them; a time is the median over rounds.
The evaluations are those of `theory.complexity`, whose formulas are counted on the engines in its tests.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from anil_tf.episodes import Tasks
from anil_tf.models.structure import count_parameters
from anil_tf.study.cell import Row, Scalar
from anil_tf.study.learners import make_learner, make_optimizer, make_tasks
from anil_tf.study.training import train_step
from anil_tf.theory import complexity
from anil_tf.training import threads

ADAPTED_LAYERS: dict[str, int | str] = {"anil": 1, "maml": "all"}
_WARM_UPS = 2
_META_STEP, _ADAPTATION = "seconds_per_meta_step", "seconds_per_adaptation"


@dataclasses.dataclass(frozen=True)
class _Contender:
    """A method with N inner steps, ready to be timed.

    Attributes:
        row: what it is and what it evaluates.
        meta_step: B tasks, the update included.
        adaptation: one task: embed support and queries, adapt, answer.
        seconds: what each of the two took, round by round, by the name of the column.
    """

    row: Row
    meta_step: Callable[[], tf.Tensor]
    adaptation: Callable[[], tf.Tensor]
    seconds: dict[str, list[float]]


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
    batch_size, repeats = int(settings["meta_batch_size"]), int(settings["repeats"])  # type: ignore[arg-type]
    with contextlib.suppress(
        RuntimeError
    ):  # TensorFlow has begun: only where nothing is timed in earnest
        threads.share_out_cores(batch_size)
    tasks = make_tasks(settings, "train")
    contenders = [
        _contender(settings, tasks, method, int(steps))
        for steps in str(settings["compared_inner_steps"]).split()
        for method in complexity.METHODS
    ]
    for round_number in range(_WARM_UPS + repeats):
        for contender in contenders:
            _take_turn(contender, keep=round_number >= _WARM_UPS)
    return [_finished_row(contender) for contender in contenders]


def _contender(settings: dict[str, Scalar], tasks: Tasks, method: str, steps: int) -> _Contender:
    chosen: dict[str, Any] = {
        "adapted_layers": ADAPTED_LAYERS[method],
        "inner_steps": steps,
        "differentiation": settings[f"engine_of_{method}"],
    }
    whole = settings | chosen
    alpha = float(settings["inner_step_size"])  # type: ignore[arg-type]
    learner = make_learner(whole, tasks, inner_step_size=alpha)
    train = train_step(learner, make_optimizer(whole, learner))
    adapt = tf.function(lambda inputs: learner(inputs, training=False))
    batch = tasks.batch(0)
    one_task, _ = tasks.replace(meta_batch_size=1).batch(0)
    parameters = {
        "head_parameters": count_parameters(learner.head_variables),
        "body_parameters": count_parameters(learner.body_variables),
    }
    row = {"method": method} | chosen | parameters | _counts(method, tasks, chosen)
    seconds: dict[str, list[float]] = {_META_STEP: [], _ADAPTATION: []}
    return _Contender(row, lambda: train(*batch), lambda: adapt(one_task), seconds)


def _counts(method: str, tasks: Tasks, chosen: dict[str, Any]) -> dict[str, float]:
    counts = complexity.formula(
        method,
        chosen["inner_steps"],
        engine=chosen["differentiation"],
        support=tasks.ways * tasks.shots,
        queries=tasks.ways * tasks.queries,
    )
    return dataclasses.asdict(counts)


def _take_turn(contender: _Contender, keep: bool) -> None:
    for name, take in ((_META_STEP, contender.meta_step), (_ADAPTATION, contender.adaptation)):
        since = time.perf_counter()
        take().numpy()
        if keep:
            contender.seconds[name].append(time.perf_counter() - since)


def _finished_row(contender: _Contender) -> Row:
    row = dict(contender.row)
    for name, seconds in contender.seconds.items():
        low, middle, high = np.quantile(seconds, [0.25, 0.5, 0.75])
        row |= {name: float(middle), f"{name}_low": float(low), f"{name}_high": float(high)}
    return row
