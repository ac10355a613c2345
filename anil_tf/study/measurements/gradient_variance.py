"""How much the meta-gradient varies from one meta-batch to the next, at frozen parameters.

An outer step follows the mean g of the gradients of B tasks, an estimate of the gradient G of the meta-objective. Its
variance, E||g - G||^2, is what the B term of the convergence rate is about. Here the learner is trained for a while,
then its parameters stay, and the meta-gradient is taken on many independent meta-batches of each size:

    variance = sum_r ||g_r - mean g||^2 / (R - 1)        the trace of the covariance, unbiased
    squared_norm = ||mean g||^2 - variance / R           of G, unbiased (so it may fall below 0)

for head and body apart. g is what training follows: the same learner, engine and normalisation, on meta-batches that
the sampler draws; B tasks are never put together from single ones, which would make 1/B true by construction.
"""

from __future__ import annotations

import dataclasses
import zlib
from typing import Any

import numpy as np
import tensorflow as tf

from anil_tf import MetaLearner, build
from anil_tf.episodes import Tasks
from anil_tf.study.cell import Row
from anil_tf.study.measurements.meta_gradient import blocks_of, meta_gradient
from anil_tf.study.settings import training_config
from anil_tf.study.training import make_learner
from anil_tf.training import meta_train


@dataclasses.dataclass(frozen=True)
class Size:
    """What a meta-batch holds: written "4x5x10" for 4 tasks of 5 shots and 10 queries per class."""

    tasks: int
    shots: int
    queries: int

    def __str__(self) -> str:
        """The form that `parse` reads."""
        return f"{self.tasks}x{self.shots}x{self.queries}"

    @classmethod
    def parse(cls, text: str) -> Size:
        """The size that such a word means.

        Raises:
            ValueError: for anything else than three whole numbers from 1 on, joined by "x".
        """
        numbers = [int(part) if part.isdecimal() else 0 for part in text.split("x")]
        if len(numbers) != 3 or min(numbers) < 1:
            raise ValueError(
                f"expected a size such as 4x5x10 (tasks, shots, queries), received {text!r}."
            )
        return cls(*numbers)


def run(settings: dict[str, Any]) -> list[Row]:
    """Trains, freezes, and measures the variance of the meta-gradient.

    Args:
        settings: those of `training.run`, of which checkpoints and evaluation_tasks may be missing; meta_steps, which
            may be 0, are taken before the parameters are frozen. Beside them `sizes`, meta-batches to measure such as
            "1x5x5 4x5x5" (tasks, shots, queries), and `draws`, R, how many of each.

    Returns:
        For each size a row for the "head" and one for the "body", named by `block`: `measured_batch_size`,
        `measured_shots`, `measured_queries`, `variance`, `squared_norm`, and `parameters`, the length of the vector.
        Sizes do not influence each other: each has meta-batches of its own, at the same frozen parameters.
    """
    config = training_config(settings)
    tasks = build.make_tasks(config, "train")
    learner = make_learner(config, tasks)
    # The training that `training.run` does with the same settings.
    list(meta_train(learner, tasks.as_dataset(), evaluate_at=[settings["meta_steps"]]))
    rows: list[Row] = []
    for size in map(Size.parse, settings["sizes"].split()):
        spreads = measure(learner, _tasks_of(size, tasks), settings["draws"])
        rows += [
            {
                "block": block,
                "measured_batch_size": size.tasks,
                "measured_shots": size.shots,
                "measured_queries": size.queries,
            }
            | spread
            for block, spread in spreads.items()
        ]
    return rows


def measure(learner: MetaLearner, tasks: Tasks, draws: int) -> dict[str, dict[str, float]]:
    """The spread of each block of the meta-gradient over meta-batches 0, 1, ..., draws - 1.

    Args:
        learner: at the parameters where it is to be taken, none of which changes.
        tasks: what meta-batches are drawn from.
        draws: R, 2 or more.

    Returns:
        For each block what `spread` returns.
    """
    blocks = blocks_of(learner)

    @tf.function
    def gradient(inputs: dict[str, tf.Tensor], labels: tf.Tensor) -> dict[str, tf.Tensor]:
        return meta_gradient(learner, inputs, labels, blocks, training=True)

    found = [gradient(*tasks.batch(step)) for step in range(draws)]
    return {block: spread(np.stack([one[block] for one in found])) for block in blocks}


def spread(vectors: np.ndarray) -> dict[str, float]:
    """How vectors [R, d] that were drawn alike scatter.

    Returns:
        `variance`, the trace of their covariance; `squared_norm`, of their expectation; both unbiased. `parameters`, d.

    Raises:
        ValueError: if they are fewer than two, which have no variance.
    """
    draws, size = vectors.shape
    if draws < 2:
        raise ValueError(f"a variance needs two draws or more, received {draws}.")
    vectors = vectors.astype(np.float64)
    mean, variance = vectors.mean(axis=0), float(vectors.var(axis=0, ddof=1).sum())
    squared_norm = float(mean @ mean) - variance / draws
    return {"variance": variance, "squared_norm": squared_norm, "parameters": size}


def _tasks_of(size: Size, tasks: Tasks) -> Tasks:
    """Meta-batches of this size, which share no seed with those of another size or of the training."""
    seed = (tasks.seed + 1) * 2**32 + zlib.crc32(str(size).encode())
    return tasks.replace(
        meta_batch_size=size.tasks, shots=size.shots, queries=size.queries, seed=seed
    )
