"""Runs a LiteRT export by ai-edge-litert, where no TensorFlow need be."""

from __future__ import annotations

import os
import pathlib
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter


class LiteRTRuntime:
    """The functions of a LiteRT file, on arrays; see `anil_tf.deploy.exported.Runtime`.

    Threads may share it: an interpreter computes one answer at a time.
    """

    def __init__(self, path: pathlib.Path, *, threads: int | None = None):
        """Loads a file.

        Args:
            path: of the .tflite file.
            threads: to compute with; by default as many as there are cores for this process.
        """
        self._interpreter = Interpreter(model_path=str(path), num_threads=threads or _cores())
        self._runners: dict[str, Any] = {}
        self._one_at_a_time = threading.Lock()

    def adapt(self, images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
        """See `Runtime`."""
        return self._run("adapt", support_images=images, support_labels=labels)

    def predict(self, images: np.ndarray, state: Mapping[str, np.ndarray]) -> np.ndarray:
        """See `Runtime`."""
        return _only(self._run("predict", query_images=images, **state))

    def adapt_and_predict(
        self, images: np.ndarray, labels: np.ndarray, queries: np.ndarray
    ) -> np.ndarray:
        """See `Runtime`."""
        inputs = {"support_images": images, "support_labels": labels, "query_images": queries}
        return _only(self._run("adapt_and_predict", **inputs))

    def embed(self, images: np.ndarray) -> np.ndarray:
        """See `Runtime`."""
        return _only(self._run("embed", images=images))

    def _run(self, signature: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        with self._one_at_a_time:
            if signature not in self._runners:
                self._runners[signature] = self._interpreter.get_signature_runner(signature)
            return self._runners[signature](**inputs)


def load(export_dir: pathlib.Path, info: Mapping[str, Any], variant: str) -> LiteRTRuntime:
    """Loads one variant of an export; see `anil_tf.deploy.exported.load`."""
    return LiteRTRuntime(export_dir / info["variants"][variant])


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _only(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    (array,) = outputs.values()
    return array
