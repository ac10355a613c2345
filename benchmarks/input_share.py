"""What the input costs: the time to draw a batch of tasks, as a share of the meta-step that uses it.

Both are timed in one process, in turns, so that whatever else the machine does falls on both. The data is synthetic,
of the size of FC100's training classes: drawing an episode never looks at the pixels.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

import anil_tf
from anil_tf.episodes.class_images import from_classes
from anil_tf.episodes.tasks import Tasks
from anil_tf.evaluation import protocol

GOAL = 0.02


def measure(
    *,
    meta_batch_size: int = 8,
    side: int = 32,
    filters: int = 64,
    classes: int = 60,
    images_per_class: int = 600,
    batches: int = 20,
    repeats: int = 10,
) -> dict[str, Any]:
    """Times 5-way 5-shot tasks with 10 queries per class, and ANIL on Conv4 (N = 5, Adam) with them.

    Args:
        meta_batch_size: tasks in a batch.
        side: height and width of the images, which have three channels.
        filters: of the network.
        classes: classes to draw from.
        images_per_class: images of each.
        batches: how many are timed in a row.
        repeats: how often each of the two is timed.

    Returns:
        `input_share`, the median over repeats, by the clock; `spread`, its quartiles; `processor_time_share`, the same
        in processor time of all threads, which other processes disturb less; `input_ms` and `step_ms`,
        medians per batch by the clock; `setting`, `hardware`, `versions` and `commit`.
    """
    tasks = _tasks(classes, images_per_class, side, meta_batch_size)
    learner = _learner(side, filters)
    drawn = [tasks.batch(step) for step in range(batches, 2 * batches)]
    for inputs, labels in drawn[:2]:
        learner.train_on_batch(inputs, labels)  # traced and warmed up
    timers: list[Callable[[], np.ndarray]] = [
        lambda: _seconds_per_batch(tasks, batches),
        lambda: _seconds_per_step(learner, drawn),
    ]
    times = np.array([[timer() for timer in timers] for _ in range(repeats)])
    shares = times[:, 0] / times[:, 1]
    (input_ms, _), (step_ms, _) = 1000 * np.median(times, axis=0)
    lower, share, upper = np.percentile(shares[:, 0], [25, 50, 75])
    return {
        "input_share": float(share),
        "spread": {
            "lower_quartile": float(lower),
            "upper_quartile": float(upper),
            "repeats": repeats,
        },
        "processor_time_share": float(np.median(shares[:, 1])),
        "input_ms": float(input_ms),
        "step_ms": float(step_ms),
        "setting": f"5-way 5-shot, 10 queries per class, {meta_batch_size} tasks, {side}x{side}x3, Conv4-{filters}, "
        f"{batches} batches per repeat",
        "hardware": protocol.hardware(),
        "versions": protocol.software(),
        "commit": protocol.commit(),
    }


def sentence(result: dict[str, Any]) -> str:
    """Returns what `measure` found, in words.

    Args:
        result: as `measure` returns it.
    """
    spread = result["spread"]
    lower, upper = (100 * spread[f"{which}_quartile"] for which in ("lower", "upper"))
    return (
        f"{result['setting']}: {result['input_ms']:.2f} ms to draw a batch, {result['step_ms']:.1f} ms for a "
        f"meta-step. Share {100 * result['input_share']:.2f} % (median of {spread['repeats']}, quartiles {lower:.2f} "
        f"to {upper:.2f} %; of processor time {100 * result['processor_time_share']:.2f} %; goal: at most "
        f"{100 * GOAL:.0f} %)."
    )


def _tasks(classes: int, images_per_class: int, side: int, meta_batch_size: int) -> Tasks:
    random = np.random.default_rng(0)
    shape = [images_per_class, side, side, 3]
    images = [random.integers(0, 256, shape, dtype=np.uint8) for _ in range(classes)]
    source = from_classes(images, [f"class {number}" for number in range(classes)])
    return Tasks(
        "synthetic",
        "train",
        source,
        ways=5,
        shots=5,
        queries=10,
        meta_batch_size=meta_batch_size,
        seed=0,
    )


def _learner(side: int, filters: int) -> anil_tf.MetaLearner:
    keras.utils.set_random_seed(0)
    model = anil_tf.models.conv4(input_shape=(side, side, 3), classes=5, filters=filters)
    body, head = anil_tf.models.split(model, adapted_layers=1)
    learner = anil_tf.MetaLearner(body, head, inner_steps=5, inner_step_size=0.1)
    learner.compile(
        optimizer=keras.optimizers.Adam(1e-3),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return learner


def _seconds_per_batch(tasks: Tasks, batches: int) -> np.ndarray:
    """Times the dataset alone, read as fast as it goes."""
    iterator = iter(tasks.as_dataset())
    for _ in range(batches):  # uses up what was prefetched: only the rate of supply is left
        next(iterator)
    start = _clocks()
    for _ in range(batches):
        next(iterator)
    return (_clocks() - start) / batches


def _seconds_per_step(learner: anil_tf.MetaLearner, drawn: Sequence[Any]) -> np.ndarray:
    """Times meta-steps on batches that are at hand."""
    start = _clocks()
    for inputs, labels in drawn:
        learner.train_on_batch(inputs, labels)  # returns numbers, so the step is over
    return (_clocks() - start) / len(drawn)


def _clocks() -> np.ndarray:
    """Seconds by the clock, and of processor time: all threads of this process together."""
    return np.array([time.perf_counter(), time.process_time()])
