"""Adapting and predicting with an exported model, to be timed: one runtime on one core.

    python benchmarks/deploy_steps.py --runtime=keras|saved_model|litert --model=PATH --batch=FILE.npz

Serves (see `worker.py`) the steps `load`, `adapt` (to the support of the first task), `predict` (its first query image,
from the state of the last `adapt`) and `adapt_and_predict` (both in one call). The runtime is imported before the first
request. A step returns the probability of class 0, or 0; `probability C` is that of class C, from adapt_and_predict.
Pixels come as uint8, as from a camera.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Before any runtime starts its threads; whoever only imports from here keeps all cores.
if __name__ == "__main__" and hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks import worker

RUNTIMES = ("keras", "saved_model", "litert")
STEPS = ("load", "adapt", "predict", "adapt_and_predict")
PROBABILITY = "probability "


class Steps(dict):
    """The steps on a task, with whatever model `make` loads."""

    def __init__(self, make: Callable[[], Any], arrays: dict[str, np.ndarray]):
        """Loads nothing yet.

        Args:
            make: loads a model with `adapt`, `predict` and `adapt_and_predict`, as `anil_tf.deploy.runtimes.Runtime`.
            arrays: those that `meta_batch.write` writes.
        """
        super().__init__()
        self._make, self._model, self._state = make, None, None
        images = arrays["support_images"][0].round().astype(np.uint8)
        self._support = images, arrays["support_labels"][0]
        self._query = arrays["query_images"][0][:1].round().astype(np.uint8)

    def __missing__(self, name: str) -> worker.Builder:
        if name.startswith(PROBABILITY):
            c = int(name.removeprefix(PROBABILITY))
            return lambda: lambda: float(self._answer()[0, c])
        if name not in STEPS:
            raise ValueError(f"step: expected one of {', '.join(STEPS)}; received {name!r}.")
        return lambda: getattr(self, f"_{name}")

    def _load(self) -> float:
        self._model = self._make()
        return 0.0

    def _adapt(self) -> float:
        self._state = self._model.adapt(*self._support)
        return 0.0

    def _predict(self) -> float:
        return float(self._model.predict(self._query, self._state)[0, 0])

    def _adapt_and_predict(self) -> float:
        return float(self._answer()[0, 0])

    def _answer(self) -> np.ndarray:
        return self._model.adapt_and_predict(*self._support, self._query)


class KerasModel:
    """The learner itself, as a Python user has it."""

    def __init__(self, path: str, normalization: str):
        import keras

        self._learner = keras.saving.load_model(path, compile=False)
        self._normalization = normalization

    def adapt(self, images: np.ndarray, labels: np.ndarray) -> Any:
        return self._learner.adapt(images, labels, normalization=self._normalization)

    def predict(self, images: np.ndarray, state: Any) -> np.ndarray:
        return state.predict(images)

    def adapt_and_predict(
        self, images: np.ndarray, labels: np.ndarray, queries: np.ndarray
    ) -> np.ndarray:
        return self.adapt(images, labels).predict(queries)


def loader(runtime: str, model: Path, normalization: str) -> tuple[Callable[[], Any], str]:
    """Imports a runtime and returns what loads the model, and the runtime's version."""
    if runtime == "litert":
        import ai_edge_litert

        from anil_tf.deploy.runtimes.litert import LiteRTRuntime

        return lambda: LiteRTRuntime(model, threads=1), ai_edge_litert.__version__
    import tensorflow as tf

    if runtime == "keras":
        import anil_tf  # noqa: F401  (Keras finds what is registered)

        return lambda: KerasModel(str(model), normalization), tf.__version__
    from anil_tf.deploy.runtimes.saved_model import SavedModelRuntime

    return lambda: SavedModelRuntime(model), tf.__version__


def main() -> None:
    """Serves the steps on standard input and output."""
    parser = argparse.ArgumentParser(description="Serves steps of a deployed model to a Worker.")
    parser.add_argument("--runtime", required=True, choices=RUNTIMES)
    parser.add_argument("--model", required=True, type=Path, help="the exported model")
    parser.add_argument("--batch", required=True, help="the .npz file with the task")
    parser.add_argument("--normalization", choices=("support", "running"), default="support")
    arguments = parser.parse_args()
    make, version = loader(arguments.runtime, arguments.model, arguments.normalization)
    with np.load(arguments.batch) as file:
        steps = Steps(make, dict(file))
    worker.serve(steps, {arguments.runtime: version, "numpy": np.__version__, "threads": 1})


if __name__ == "__main__":
    main()
