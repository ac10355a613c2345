"""What a model takes for what: each example named by a model that was adapted to all the others."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

import numpy as np


@dataclasses.dataclass(frozen=True)
class Confusion:
    """Counts of leave-one-out.

    Attributes:
        counts: int [ways, ways]; row c counts what the examples of class c were called.
        tested: examples that were held out.
        testable: examples that could have been: those of classes with two or more.
        interrupted: whether `is_interrupted` ended it.
    """

    counts: np.ndarray
    tested: int
    testable: int
    interrupted: bool


def leave_one_out(
    adapt_and_predict: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
    images: np.ndarray,
    labels: np.ndarray,
    *,
    seconds: float,
    is_interrupted: Callable[[], bool] = lambda: False,
) -> Confusion:
    """Names each example by a model that was adapted to all the other examples.

    Args:
        adapt_and_predict: images, labels and new images -> probabilities [new images, ways].
        images: the examples [examples, height, width, channels].
        labels: their classes, int [examples], 0..ways-1.
        seconds: time after which no further example is begun. Classes take turns, so that each has
            its share whenever that is.
        is_interrupted: asked before each example; no further one is begun once it says so.

    Returns:
        The counts. The only example of a class is never held out: the class would be gone.
    """
    ways = int(labels.max()) + 1
    counts = np.zeros((ways, ways), np.int64)
    order = _in_turns(labels, ways)
    end = time.monotonic() + seconds
    tested, interrupted = 0, False
    for index in order:
        interrupted = is_interrupted()
        if interrupted or (tested and time.monotonic() > end):
            break
        others = np.arange(len(labels)) != index
        probabilities = adapt_and_predict(images[others], labels[others], images[index][None])
        counts[labels[index], int(np.argmax(probabilities[0]))] += 1
        tested += 1
    return Confusion(counts, tested, len(order), interrupted)


def _in_turns(labels: np.ndarray, ways: int) -> list[int]:
    """Examples of classes with two or more: the first of each class, then the second of each, ..."""
    by_class = [np.flatnonzero(labels == label) for label in range(ways)]
    turns = [(turn, i) for group in by_class if len(group) > 1 for turn, i in enumerate(group)]
    return [int(i) for _, i in sorted(turns)]
