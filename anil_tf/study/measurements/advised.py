"""A training run whose inner loop is the one that `anil_tf.theory.advice` advises, as by --inner_step_size=auto."""

from __future__ import annotations

import time

from anil_tf.study import training
from anil_tf.study.cell import Row, Scalar
from anil_tf.study.learners import make_learner, make_tasks
from anil_tf.theory import advice

_TASKS, _AT_A_TIME = 16, 8  # those of bin/train.py for a linear head


def run(settings: dict[str, Scalar]) -> list[Row]:
    """Measures the landscape of the first training tasks, then trains with the step size and the steps advised.

    As in bin/train.py the head is measured at zero: training soon makes the rows of a free one alike.

    Args:
        settings: those of `training.run` but inner_steps and inner_step_size, with one adapted layer.

    Returns:
        The rows of `training.run`, and in each `advised_steps` (N; alpha stands in `alpha`), `advice_seconds`, what
        it took to measure, compiling included, with whatever else the machine was doing.
    """
    make_tasks(settings, "train")  # images are loaded once per process, which is not what is timed
    since = time.perf_counter()
    advised = _advise(settings)
    seconds = time.perf_counter() - since
    chosen: dict[str, Scalar] = {
        "inner_step_size": advised.step_size,
        "inner_steps": advised.steps,
    }
    told = {"advised_steps": advised.steps, "advice_seconds": seconds}
    return [row | told for row in training.run(settings | chosen)]


def _advise(settings: dict[str, Scalar]) -> advice.Advice:
    tasks = make_tasks(settings, "train", meta_batch_size=_AT_A_TIME)
    learner = make_learner(settings | {"inner_steps": 1}, tasks, inner_step_size=1.0)
    probe = learner.replace(head_initialization="zero")
    posed = [probe.pose(tasks.batch(step)[0]) for step in range(_TASKS // _AT_A_TIME)]
    return advice.advise(advice.measure(posed))
