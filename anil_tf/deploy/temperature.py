"""The temperature of an export: fitted on validation episodes, so that a confidence means what it says."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from anil_tf.deploy.signatures import Signatures
from anil_tf.evaluation import calibration


@dataclasses.dataclass(frozen=True)
class Temperature:
    """A temperature and what it was fitted on.

    Attributes:
        value: T of softmax(logits / T).
        episodes: how many validation episodes it was fitted on; 0 where T is 1 unfitted.
        ways: classes of each of these episodes.
        error_before: the expected calibration error of those episodes at T = 1.
        error_after: the same at `value`.
    """

    value: float = 1.0
    episodes: int = 0
    ways: int | None = None
    error_before: float | None = None
    error_after: float | None = None


def fit(signatures: Signatures, tasks: Any, *, episodes: int) -> Temperature:
    """Fits the temperature on the first `episodes` tasks (arXiv:1706.04599, section 4.2).

    Args:
        signatures: of the learner, with the normalisation that is exported.
        tasks: validation `Tasks`, never those that accuracy is reported on.
        episodes: how many; 0 leaves the temperature at 1, and so do episodes without a mistake.

    Returns:
        The temperature; that of a regression is 1, fitted on nothing.

    Raises:
        tf.errors.InvalidArgumentError: for tasks of other ways than a free head has rows.
    """
    if episodes == 0 or not signatures.classifies:
        return Temperature()
    logits, labels = _answers(signatures, tasks, episodes)
    # Where every answer is right, the colder the better: certainty that a few episodes cannot give.
    all_right = (logits.argmax(axis=-1) == labels).all()
    value = 1.0 if all_right else calibration.fit_temperature(logits, labels)
    return Temperature(
        value,
        episodes,
        logits.shape[-1],
        calibration.expected_calibration_error(logits, labels),
        calibration.expected_calibration_error(logits / value, labels),
    )


def _answers(signatures: Signatures, tasks: Any, episodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits [episodes, n_q, ways] and labels [episodes, n_q] of the queries."""
    specs = signatures.specs("adapt_and_predict")
    compute = tf.function(signatures.logits, input_signature=specs)
    names = [spec.name for spec in specs]
    pairs = [
        (compute(*(inputs[name] for name in names)).numpy(), labels.numpy())
        for inputs, labels in tasks.as_dataset().unbatch().take(episodes)
    ]
    logits, labels = zip(*pairs, strict=True)
    return np.stack(logits).astype(np.float64), np.stack(labels)
