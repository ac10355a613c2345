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
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from anil_tf import MetaLearner
from anil_tf.episodes import Tasks
from anil_tf.study.cell import Row, Scalar
from anil_tf.study.learners import make_learner, make_optimizer, make_tasks
from anil_tf.study.training import query_losses, train_step

Gradient = Callable[[dict[str, tf.Tensor], tf.Tensor], dict[str, tf.Tensor]]


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


@dataclasses.dataclass(frozen=True)
class Spread:
    """Of R vectors drawn alike.

    Attributes:
        variance: trace of their covariance, unbiased.
        squared_norm: of their expectation, unbiased.
    """

    variance: float
    squared_norm: float


def run(settings: dict[str, Scalar]) -> list[Row]:
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
    tasks = make_tasks(settings, "train")
    learner = _trained(settings, tasks)
    gradient = meta_gradient(learner)
    rows: list[Row] = []
    for size in map(Size.parse, str(settings["sizes"]).split()):
        drawn = _tasks_of(size, tasks)
        for block, (spread, parameters) in measure(gradient, drawn, int(settings["draws"])).items():  # type: ignore[arg-type]
            rows.append(
                {
                    "block": block,
                    "measured_batch_size": size.tasks,
                    "measured_shots": size.shots,
                    "measured_queries": size.queries,
                    "variance": spread.variance,
                    "squared_norm": spread.squared_norm,
                    "parameters": parameters,
                }
            )
    return rows


def meta_gradient(learner: MetaLearner) -> Gradient:
    """A compiled function: inputs and query labels of B tasks -> the meta-gradient, "head" and "body", flat.

    Args:
        learner: at the parameters where it is to be taken; the function changes none of them.
    """
    blocks = {"head": learner.head_variables, "body": learner.body_variables}
    blocks = {name: variables for name, variables in blocks.items() if variables}

    @tf.function
    def gradient(inputs: dict[str, tf.Tensor], labels: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(query_losses(learner(inputs, training=True), labels))
        found = tape.gradient(loss, blocks, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return {
            name: tf.concat([tf.reshape(part, [-1]) for part in parts], axis=0)
            for name, parts in found.items()
        }

    return gradient


def measure(gradient: Gradient, tasks: Tasks, draws: int) -> dict[str, tuple[Spread, int]]:
    """The spread of each block of the meta-gradient over meta-batches 0, 1, ..., draws - 1, and its length.

    Args:
        gradient: see `meta_gradient`.
        tasks: what meta-batches are drawn from.
        draws: R, 2 or more.
    """
    moments: dict[str, Moments] = {}
    for step in range(draws):
        for block, vector in gradient(*tasks.batch(step)).items():
            moments.setdefault(block, Moments()).add(vector.numpy())
    return {block: (of.spread(), of.mean.size) for block, of in moments.items()}


class Moments:
    """Mean and scatter of vectors that come one by one, in float64 (Welford's recursion): none is kept."""

    def __init__(self):
        self.count = 0
        self.mean = np.zeros(0)
        self._scatter = 0.0

    def add(self, vector: np.ndarray) -> None:
        """Takes one more vector [d]."""
        vector = np.asarray(vector, np.float64)
        before = self.mean if self.count else np.zeros_like(vector)
        self.count += 1
        self.mean = before + (vector - before) / self.count
        self._scatter += float((vector - before) @ (vector - self.mean))

    def spread(self) -> Spread:
        """Of the vectors so far.

        Raises:
            ValueError: if they are fewer than two, which have no variance.
        """
        if self.count < 2:
            raise ValueError(f"a variance needs two draws or more, received {self.count}.")
        variance = self._scatter / (self.count - 1)
        return Spread(variance, float(self.mean @ self.mean) - variance / self.count)


def _trained(settings: dict[str, Scalar], tasks: Tasks) -> MetaLearner:
    """The learner after `meta_steps` of the training that `training.run` does with the same settings."""
    learner = make_learner(settings, tasks, inner_step_size=float(settings["inner_step_size"]))  # type: ignore[arg-type]
    train = train_step(learner, make_optimizer(settings, learner))
    for step in range(int(settings["meta_steps"])):  # type: ignore[arg-type]
        train(*tasks.batch(step))
    return learner


def _tasks_of(size: Size, tasks: Tasks) -> Tasks:
    """Meta-batches of this size, which share no seed with those of another size or of the training."""
    seed = (tasks.seed + 1) * 2**32 + zlib.crc32(str(size).encode())
    return tasks.replace(
        meta_batch_size=size.tasks, shots=size.shots, queries=size.queries, seed=seed
    )
