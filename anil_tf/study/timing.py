"""What a meta-step and an adaptation cost in seconds: cells that run alone, on all cores.

The step is the one of `training.py`, warm, on one batch that is drawn beforehand.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from anil_tf.episodes import Tasks
from anil_tf.meta_learner import MetaLearner
from anil_tf.study.cell import Row, Scalar
from anil_tf.study.learners import make_learner, make_optimizer, make_tasks
from anil_tf.study.training import train_step
from anil_tf.training import threads

META_STEP, ADAPTATION = "seconds_per_meta_step", "seconds_per_adaptation"
_WARM_UPS = 3
_STEP_SIZE = 0.01  # where a rule would choose it: time does not depend on it

# Something that takes time, by the name of the column.
Steps = dict[str, Callable[[], tf.Tensor]]


def run(settings: dict[str, Scalar]) -> list[Row]:
    """Times the meta-step and the adaptation of a learner; for `Cell(..., alone=True)`.

    Args:
        settings: those of `training.run`, of which meta_steps, checkpoints and evaluation_tasks may be missing, and
            `repeats`.

    Returns:
        One row: `seconds_per_meta_step` (B tasks, the update included) and `seconds_per_adaptation` (one task: embed
        support and queries, adapt, answer), medians over the repeats; `..._low` and `..._high` are their quartiles.
    """
    repeats: Any = settings["repeats"]
    tasks = tasks_on_all_cores(settings)
    wanted = settings["inner_step_size"]
    alpha = _STEP_SIZE if isinstance(wanted, str) else float(wanted)  # type: ignore[arg-type]
    _, steps = learner_and_steps(settings, tasks, inner_step_size=alpha)
    rows = [in_rounds([{name: step}], repeats)[0] for name, step in steps.items()]
    return [rows[0] | rows[1]]


def tasks_on_all_cores(settings: dict[str, Scalar]) -> Tasks:
    """The training tasks of a cell that runs alone, one task to a core."""
    batch_size: Any = settings["meta_batch_size"]
    with contextlib.suppress(RuntimeError):  # TensorFlow has begun: only where nothing is timed
        threads.share_out_cores(batch_size)
    return make_tasks(settings, "train")


def learner_and_steps(
    settings: dict[str, Scalar], tasks: Tasks, *, inner_step_size: float
) -> tuple[MetaLearner, Steps]:
    """A learner with fresh weights, its meta-step on B tasks and its adaptation to one."""
    learner = make_learner(settings, tasks, inner_step_size=inner_step_size)
    train = train_step(learner, make_optimizer(settings, learner))
    adapt = tf.function(lambda inputs: learner(inputs, training=False))
    batch = tasks.batch(0)
    one_task, _ = tasks.replace(meta_batch_size=1).batch(0)
    return learner, {META_STEP: lambda: train(*batch), ADAPTATION: lambda: adapt(one_task)}


def in_rounds(contenders: Sequence[Steps], repeats: int) -> list[Row]:
    """Times contenders in turns, when they are warm, so that whatever else the machine does falls on all of them.

    Args:
        contenders: what each of them is timed at.
        repeats: rounds.

    Returns:
        For each contender the medians by the names of its columns, and the quartiles, `..._low` and `..._high`.
    """
    seconds: list[dict[str, list[float]]] = [{name: [] for name in steps} for steps in contenders]
    for _ in range(_WARM_UPS + repeats):
        for steps, taken in zip(contenders, seconds, strict=True):
            for name, take in steps.items():
                since = time.perf_counter()
                take().numpy()
                taken[name].append(time.perf_counter() - since)
    return [_quartiles(taken) for taken in seconds]


def _quartiles(seconds: dict[str, list[float]]) -> Row:
    row: Row = {}
    for name, values in seconds.items():
        low, middle, high = np.quantile(values[_WARM_UPS:], [0.25, 0.5, 0.75])
        row |= {name: float(middle), f"{name}_low": float(low), f"{name}_high": float(high)}
    return row
