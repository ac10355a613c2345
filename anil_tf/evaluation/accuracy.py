"""How accurate a learner is on unseen tasks, with the 95 % interval that belongs to the number.

Tasks are independent draws, so the interval is the one of a mean over episodes: 1.96 s / sqrt(n).
Two learners are compared on the same episodes, where the difference is known far more precisely
than either accuracy.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import scipy.special
import scipy.stats
import tensorflow as tf
import tqdm

from anil_tf.evaluation import calibration


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """What an evaluation found.

    Attributes:
        per_episode_accuracy: [episodes] float64, the fraction of queries answered rightly;
            regression: None.
        per_episode_loss: [episodes] float64, the mean cross-entropy of the queries in nats;
            regression: the mean squared error.
        ece: expected calibration error, 0..1 (`calibration`); regression: None.
        seconds: wall-clock time, compilation included.
        drawn_from: which episodes these are, in words; only equal ones can be compared.
    """

    per_episode_accuracy: np.ndarray | None
    per_episode_loss: np.ndarray
    ece: float | None
    seconds: float
    drawn_from: str

    @property
    def episodes(self) -> int:
        """How many episodes were evaluated."""
        return len(self.per_episode_loss)

    @property
    def regression(self) -> bool:
        """Whether the tasks are regression tasks."""
        return self.per_episode_accuracy is None

    @property
    def metric(self) -> str:
        """The name of the reported number: "accuracy", or "mse" for regression."""
        return "mse" if self.regression else "accuracy"

    @property
    def per_episode(self) -> np.ndarray:
        """[episodes] float64: the reported number of each episode."""
        return (
            self.per_episode_loss
            if self.per_episode_accuracy is None
            else self.per_episode_accuracy
        )

    @property
    def value(self) -> float:
        """The reported number: mean accuracy (a fraction), or mean squared error."""
        return float(self.per_episode.mean())

    @property
    def accuracy(self) -> float:
        """The mean accuracy, a fraction; NaN for regression."""
        return float("nan") if self.regression else self.value

    @property
    def mse(self) -> float:
        """The mean squared error of a regression; NaN for classification."""
        return self.value if self.regression else float("nan")

    @property
    def loss(self) -> float:
        """The mean loss of the queries."""
        return float(self.per_episode_loss.mean())

    @property
    def ci95(self) -> float:
        """Half the width of the 95 % interval of `value`; NaN for a single episode."""
        return half_width(self.per_episode)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A paired comparison: first minus second is `difference` ± `ci95` (95 % interval)."""

    difference: float
    ci95: float
    episodes: int

    @property
    def distinguishable(self) -> bool:
        """Whether the interval leaves out zero."""
        return abs(self.difference) > self.ci95


def half_width(samples: np.ndarray) -> float:
    """Half the width of the 95 % interval of a mean: 1.96 s / sqrt(n), s with n - 1.

    Args:
        samples: [n] independent numbers.

    Returns:
        The half-width, in the unit of the samples; NaN for a single sample.
    """
    samples = np.asarray(samples, np.float64)
    if samples.size < 2:
        return float("nan")
    return 1.96 * float(samples.std(ddof=1)) / math.sqrt(samples.size)


def evaluate(
    learner: keras.Model,
    tasks: Any,
    *,
    episodes: int,
    progress: bool = True,
    jit_compile: bool = False,
) -> Evaluation:
    """Evaluates a learner on exactly `episodes` episodes, streaming them batch by batch.

    The episodes are the first ones of `tasks`, in order: equal tasks give equal episodes. No
    variable changes.

    Args:
        learner: a `MetaLearner`.
        tasks: `anil_tf.episodes.Tasks`.
        episodes: how many, at least 1; need not be a multiple of the batch.
        progress: whether a progress bar is drawn, if standard error is a terminal.
        jit_compile: whether XLA compiles the prediction, which seldom pays for itself here.

    Returns:
        The numbers of every episode and their summary.

    Raises:
        ValueError: if `episodes` is below 1.
        FloatingPointError: if the predictions are not finite.

    Example:
        >>> evaluate(learner, tasks.replace(seed=0), episodes=1000).accuracy  # doctest: +SKIP
        0.482
    """
    predict = tf.function(
        lambda inputs: learner(inputs, training=False), jit_compile=jit_compile or None
    )
    return evaluate_predictions(predict, tasks, episodes=episodes, progress=progress)


def evaluate_predictions(
    predict: Callable[[dict[str, tf.Tensor]], Any],
    tasks: Any,
    *,
    episodes: int,
    progress: bool = True,
) -> Evaluation:
    """Evaluates any function that answers tasks, such as an exported model; see `evaluate`.

    Args:
        predict: inputs of a batch of tasks, as `tasks` gives them -> logits of the queries,
            [B, n_q, ways] (regression: numbers [B, n_q, k]).
        tasks: `anil_tf.episodes.Tasks`.
        episodes: how many, at least 1; need not be a multiple of the batch.
        progress: whether a progress bar is drawn, if standard error is a terminal.

    Returns:
        The numbers of every episode and their summary.
    """
    if episodes < 1:
        raise ValueError(f"episodes must be at least 1, received {episodes}")
    started = time.perf_counter()
    accuracies, losses, done = [], [], 0
    counts = np.zeros((3, calibration.BINS))
    with tqdm.tqdm(
        total=episodes, unit=" episodes", desc="evaluate", disable=None if progress else True
    ) as bar:
        for inputs, labels in tasks.as_dataset():
            wanted = min(episodes - done, len(labels))
            predictions = np.asarray(predict(inputs), np.float64)[:wanted]
            labels = np.asarray(labels)[:wanted]
            _check_finite(predictions, done)
            losses.append(_losses(predictions, labels, tasks.regression))
            if not tasks.regression:
                accuracies.append((predictions.argmax(axis=-1) == labels).mean(axis=-1))
                counts += calibration.tally(predictions, labels)
            done += wanted
            bar.update(wanted)
            if done == episodes:
                break
    return Evaluation(
        per_episode_accuracy=None if tasks.regression else np.concatenate(accuracies),
        per_episode_loss=np.concatenate(losses),
        ece=None if tasks.regression else calibration.error_of(counts),
        seconds=time.perf_counter() - started,
        drawn_from=_drawn_from(tasks),
    )


def compare(first: Evaluation, second: Evaluation) -> Comparison:
    """The mean paired difference first - second with its 95 % interval (Student's t over episodes).

    Args:
        first: an evaluation.
        second: another one, of the same episodes.

    Returns:
        The difference in the unit of `Evaluation.value` and half the width of its interval.

    Raises:
        ValueError: if the two were not evaluated on the same episodes.
    """
    if (first.drawn_from, first.episodes) != (second.drawn_from, second.episodes):
        raise ValueError(
            "only evaluations of the same episodes can be compared, received "
            f"{first.episodes} episodes of {first.drawn_from} and "
            f"{second.episodes} of {second.drawn_from}"
        )
    differences = first.per_episode - second.per_episode
    count = len(differences)
    ci95 = float("nan")
    if count > 1:
        quantile = float(scipy.stats.t.ppf(0.975, count - 1))
        ci95 = quantile * float(differences.std(ddof=1)) / math.sqrt(count)
    return Comparison(difference=float(differences.mean()), ci95=ci95, episodes=count)


def _losses(predictions: np.ndarray, labels: np.ndarray, regression: bool) -> np.ndarray:
    """[tasks]: mean squared error of the queries of each task, or cross-entropy of their logits."""
    if regression:
        return np.square(predictions - labels).reshape(len(labels), -1).mean(axis=-1)
    log_probabilities = scipy.special.log_softmax(predictions, axis=-1)
    return -np.take_along_axis(log_probabilities, labels[..., None], axis=-1)[..., 0].mean(axis=-1)


def _check_finite(predictions: np.ndarray, first_episode: int) -> None:
    finite = np.isfinite(predictions).reshape(len(predictions), -1).all(axis=-1)
    if not finite.all():
        raise FloatingPointError(
            f"predictions of episode {first_episode + int(np.argmin(finite))} are not finite, "
            "expected finite numbers: the inner step size is probably too large"
        )


def _drawn_from(tasks: Any) -> str:
    return (
        f"{tasks.name}/{tasks.split} {tasks.ways}-way {tasks.shots}-shot {tasks.queries}-query, "
        f"seed {tasks.seed}, batches of {tasks.meta_batch_size} from step {tasks.first_step}"
    )
