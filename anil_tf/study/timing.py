"""What a meta-step and an adaptation cost in seconds: cells that run alone, on all cores.

The step is the one of `training.py`, warm, on one batch that is drawn beforehand.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from anil_tf.study.cell import Row, Scalar
from anil_tf.study.learners import make_learner, make_optimizer, make_tasks
from anil_tf.study.training import train_step
from anil_tf.training import threads

_WARM_UPS = 3
_STEP_SIZE = 0.01  # where a rule would choose it: time does not depend on it


def run(settings: dict[str, Scalar]) -> list[Row]:
    """Times the meta-step and the adaptation of a learner; for `Cell(..., alone=True)`.

    Args:
        settings: those of `training.run`, of which meta_steps, checkpoints and evaluation_tasks may be missing, and
            `repeats`.

    Returns:
        One row: `seconds_per_meta_step` (B tasks, the update included) and `seconds_per_adaptation` (one task: embed
        support and queries, adapt, answer), medians over the repeats; `..._low` and `..._high` are their quartiles.
    """
    batch_size: Any = settings["meta_batch_size"]
    repeats: Any = settings["repeats"]
    with contextlib.suppress(RuntimeError):  # TensorFlow has begun: only where nothing is timed
        threads.share_out_cores(batch_size)
    tasks = make_tasks(settings, "train")
    wanted = settings["inner_step_size"]
    alpha = _STEP_SIZE if isinstance(wanted, str) else float(wanted)  # type: ignore[arg-type]
    learner = make_learner(settings, tasks, inner_step_size=alpha)
    train = train_step(learner, make_optimizer(settings, learner))
    adapt = tf.function(lambda inputs: learner(inputs, training=False))
    batch = tasks.batch(0)
    one_task, _ = tasks.replace(meta_batch_size=1).batch(0)
    return [
        _quartiles("seconds_per_meta_step", lambda: train(*batch), repeats)
        | _quartiles("seconds_per_adaptation", lambda: adapt(one_task), repeats)
    ]


def _quartiles(name: str, take: Callable[[], tf.Tensor], repeats: int) -> Row:
    """The median and the quartiles of the seconds that something takes when it is warm."""
    seconds = []
    for _ in range(_WARM_UPS + repeats):
        since = time.perf_counter()
        take().numpy()
        seconds.append(time.perf_counter() - since)
    low, middle, high = np.quantile(seconds[_WARM_UPS:], [0.25, 0.5, 0.75])
    return {name: float(middle), f"{name}_low": float(low), f"{name}_high": float(high)}
