"""A training run whose inner loop is the one that --inner_step_size=auto --inner_steps=auto advises."""

from __future__ import annotations

import dataclasses
import time

from anil_tf import auto, build
from anil_tf.config.adaptation import AUTO
from anil_tf.study import training
from anil_tf.study.cell import Row, Scalar
from anil_tf.study.settings import training_config


def run(settings: dict[str, Scalar]) -> list[Row]:
    """Measures the landscape of the first training tasks, then trains with the step size and the steps advised.

    Args:
        settings: those of `training.run` but inner_steps and inner_step_size, with one adapted layer.

    Returns:
        The rows of `training.run`, and in each `advised_steps` (N; alpha stands in `alpha`), `advice_seconds`, what
        it took to measure, compiling included, with whatever else the machine was doing.
    """
    config = dataclasses.replace(training_config(settings), inner_steps=AUTO, inner_step_size=AUTO)
    tasks = build.make_tasks(config, "train")  # loads the images, which is not what is timed
    since = time.perf_counter()
    build.seed(config)
    advised, _ = auto.resolve(config, build.make_network(config, tasks), tasks)
    seconds = time.perf_counter() - since
    chosen: dict[str, Scalar] = {
        "inner_step_size": advised.inner_step_size,
        "inner_steps": advised.inner_steps,
    }
    told = {"advised_steps": advised.inner_steps, "advice_seconds": seconds}
    return [row | told for row in training.run(settings | chosen)]
