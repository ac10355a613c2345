"""What an exported file is worth: accuracy, calibration and latency, measured the way a client uses it."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from anil_tf.deploy.exported import Exported
from anil_tf.evaluation import Evaluation, evaluate_predictions

_LOADS = 3
_CALLS = 50
_LEAST_CALLS = 5
_SECONDS = 5.0  # after which a slow model is not called again
_TINY = np.finfo(np.float64).tiny


def accuracy(exported: Exported, tasks: Any, *, episodes: int, progress: bool = True) -> Evaluation:
    """Accuracy and calibration error of an export's file on unseen tasks; see `evaluation.evaluate`."""

    def answers(inputs: Any) -> np.ndarray:
        names = ("support_images", "support_labels", "query_images")
        tasks_of_batch = zip(*(inputs[name].numpy() for name in names), strict=True)
        return np.stack([_answer(exported, *task) for task in tasks_of_batch])

    return evaluate_predictions(answers, tasks, episodes=episodes, progress=progress)


def latency(load: Callable[[], Exported], tasks: Any) -> dict[str, Any]:
    """How long loading, adapt and predict take, in milliseconds.

    Args:
        load: loads the export afresh.
        tasks: gives the images; adapt gets the support of one task, predict one image.

    Returns:
        Per function `{"cold": ..., "warm": ...}`, the first call after loading and later ones, each
        `{"median", "quartiles", "calls"}`; `load` likewise; and `images`, of the support. An export that has no
        adapt is timed by `adapt_and_predict` on all queries of the task.
    """
    inputs, _ = tasks.batch(0)
    support = inputs["support_images"][0].numpy(), inputs["support_labels"][0].numpy()
    queries = inputs["query_images"][0].numpy()
    loads: list[float] = []
    cold: dict[str, list[float]] = {}
    for _ in range(_LOADS):
        started = time.perf_counter()
        exported = load()
        loads.append(time.perf_counter() - started)
        for name, call in _calls(exported, support, queries):
            cold.setdefault(name, []).append(_seconds(call))
    found: dict[str, Any] = {"images": len(support[0]), "load": _quantiles(loads)}
    for name, call in _calls(exported, support, queries):
        found[name] = {"cold": _quantiles(cold[name]), "warm": _quantiles(_repeated(call))}
    return found


def size(path: pathlib.Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def _answer(
    exported: Exported, images: np.ndarray, labels: np.ndarray, queries: np.ndarray
) -> np.ndarray:
    """Logits [m, ways] of one task, up to a constant; of a regression the outputs."""
    if "adapt" in exported.info["signatures"]:
        answers = exported.predict(queries, exported.adapt(images, labels))
    else:
        answers = exported.adapt_and_predict(images, labels, queries)
    if not exported.classifies:
        return answers
    return np.log(np.maximum(answers.astype(np.float64), _TINY))


def _calls(
    exported: Exported, support: tuple[np.ndarray, np.ndarray], queries: np.ndarray
) -> list[tuple[str, Callable[[], Any]]]:
    """What is timed, in the order in which a client calls it."""
    if "adapt" not in exported.info["signatures"]:
        return [("adapt_and_predict", lambda: exported.adapt_and_predict(*support, queries))]
    state: dict[str, np.ndarray] = {}
    return [
        ("adapt", lambda: state.update(exported.adapt(*support))),
        ("predict", lambda: exported.predict(queries[:1], state)),
        ("adapt_and_predict", lambda: exported.adapt_and_predict(*support, queries[:1])),
    ]


def _repeated(call: Callable[[], Any]) -> list[float]:
    """Seconds of each of many calls, fewer where they are slow."""
    until = time.perf_counter() + _SECONDS
    seconds: list[float] = []
    while len(seconds) < _LEAST_CALLS or (len(seconds) < _CALLS and time.perf_counter() < until):
        seconds.append(_seconds(call))
    return seconds


def _seconds(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _quantiles(seconds: list[float]) -> dict[str, Any]:
    lower, median, upper = (
        float(f"{1e3 * q:.4g}") for q in np.quantile(seconds, (0.25, 0.5, 0.75))
    )
    return {"median": median, "quartiles": [lower, upper], "calls": len(seconds)}
