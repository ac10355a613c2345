"""Meta-steps in memory: no files, no validation, and a training that diverges says so instead of failing.

`run` is the outer loop with a directory. Both take Keras' train step of a learner that `compile_learner` has compiled,
so that they end with the same weights.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Where a training stands when it is evaluated.

    Attributes:
      meta_step: how many meta-steps are done.
      losses: of the meta-steps since the evaluation before, each before its update.
      measured: what the evaluation measured, by name; empty once the training has diverged.
      diverged: whether a loss or a measured number was not finite, here or before.
    """

    meta_step: int
    losses: list[float]
    measured: dict[str, float]
    diverged: bool


def compile_learner(
    learner: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    *,
    regression: bool = False,
    metrics: Iterable[keras.metrics.Metric] = (),
    jit_compile: bool | str = "auto",
) -> None:
    """Compiles a learner for training, and makes the variables of its optimizer.

    Args:
      learner: a `MetaLearner`.
      optimizer: from `optimizers.build`.
      regression: whether queries have numbers instead of classes.
      metrics: measured while it trains, beside the loss.
      jit_compile: "auto", True or False, as in Keras.
    """
    loss: keras.losses.Loss = (
        keras.losses.MeanSquaredError()
        if regression
        else keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    learner.compile(optimizer=optimizer, loss=loss, metrics=list(metrics), jit_compile=jit_compile)
    optimizer.build(learner.trainable_variables)


def meta_train(
    learner: keras.Model,
    batches: Iterable[tuple[dict[str, tf.Tensor], tf.Tensor]],
    *,
    evaluate_at: Iterable[int],
    evaluate: Callable[[], dict[str, float]] = dict,
) -> Iterator[Evaluation]:
    """Meta-trains a learner, and evaluates it on the way.

    Args:
      learner: compiled by `compile_learner`.
      batches: inputs and query labels of the meta-batches, from the first meta-step on.
      evaluate_at: the meta-steps to evaluate at, in ascending order; 0 is before the first. The last one ends the
        training, as does a number that is not finite.
      evaluate: measures the learner as it is.

    Yields:
      An evaluation for each of `evaluate_at`.

    Example:
      for evaluation in meta_train(learner, tasks.as_dataset(), evaluate_at=[0, 100]):
        print(evaluation.meta_step, evaluation.losses)
    """
    iterator = iter(batches)
    done, diverged = 0, False
    for meta_step in evaluate_at:
        losses: list[float] = []
        while done < meta_step and not diverged:
            logs: Any = learner.train_on_batch(*next(iterator), return_dict=True)
            losses.append(logs["loss"])
            diverged = not math.isfinite(losses[-1])
            done += 1
        measured = {} if diverged else evaluate()
        diverged = diverged or not all(map(math.isfinite, measured.values()))
        yield Evaluation(meta_step, losses, measured, diverged)
