"""What a meta-step and an adaptation cost in seconds: cells that run alone, on all cores.

The step is the one of `training.py`, warm, on one batch that is drawn beforehand.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from anil_tf import MetaLearner, build, threads
from anil_tf.episodes import Tasks
from anil_tf.study.cell import Row, Scalar
from anil_tf.study.settings import training_config
from anil_tf.study.training import make_learner

_WARM_UPS = 3

# Column to what is timed: something that returns when it is done.
Timed = Mapping[str, Callable[[], object]]


def run(settings: dict[str, Scalar]) -> list[Row]:
    """Times the meta-step and the adaptation of a learner; for `Cell(..., alone=True)`.

    Args:
        settings: those of `training.run`, of which meta_steps, checkpoints and evaluation_tasks may be missing, and
            `repeats`. An inner step size by a rule is not looked for: time does not depend on it.

    Returns:
        One row: `seconds_per_meta_step` (B tasks, the update included) and `seconds_per_adaptation` (one task: embed
        support and queries, adapt, answer), medians over the repeats; `..._low` and `..._high` are their quartiles.
    """
    config = training_config(settings)
    share_out_cores(config.meta_batch_size)
    tasks = build.make_tasks(config, "train")
    timed = meta_step_and_adaptation(make_learner(config, tasks), tasks)
    repeats = int(settings["repeats"])  # type: ignore[arg-type]
    meta_step, adaptation = (in_rounds([{name: take}], repeats)[0] for name, take in timed.items())
    return [meta_step | adaptation]


def share_out_cores(meta_batch_size: int) -> None:
    """Gives a task a core, as in bin/train.py, unless TensorFlow has begun: only where nothing is timed in earnest."""
    with contextlib.suppress(RuntimeError):
        threads.share_out_cores(meta_batch_size)


def meta_step_and_adaptation(learner: MetaLearner, tasks: Tasks) -> Timed:
    """What is timed of a learner that is compiled for training, by column."""
    inputs, labels = tasks.batch(0)
    one_task, _ = tasks.replace(meta_batch_size=1).batch(0)
    adapt = tf.function(lambda inputs: learner(inputs, training=False))
    return {
        "seconds_per_meta_step": lambda: learner.train_on_batch(inputs, labels),
        "seconds_per_adaptation": lambda: adapt(one_task).numpy(),
    }


def in_rounds(contenders: Sequence[Timed], repeats: int) -> list[Row]:
    """Times contenders in turns, when they are warm, so that whatever else the machine does falls on all of them.

    Args:
        contenders: what each of them is timed at.
        repeats: rounds.

    Returns:
        For each contender the medians by the names of its columns, and the quartiles, `..._low` and `..._high`.
    """
    seconds: list[dict[str, list[float]]] = [{name: [] for name in timed} for timed in contenders]
    for _ in range(_WARM_UPS + repeats):
        for timed, taken in zip(contenders, seconds, strict=True):
            for name, take in timed.items():
                since = time.perf_counter()
                take()
                taken[name].append(time.perf_counter() - since)
    return [_quartiles(taken) for taken in seconds]


def _quartiles(seconds: dict[str, list[float]]) -> Row:
    row: Row = {}
    for name, values in seconds.items():
        low, middle, high = np.quantile(values[_WARM_UPS:], [0.25, 0.5, 0.75])
        row |= {name: float(middle), f"{name}_low": float(low), f"{name}_high": float(high)}
    return row
