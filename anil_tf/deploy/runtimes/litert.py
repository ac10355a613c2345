"""Runs a LiteRT export by ai-edge-litert, where no TensorFlow need be."""

from __future__ import annotations

import pathlib
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from anil_tf.deploy.runtimes import Runtime
from anil_tf.threads import cores


class LiteRTRuntime(Runtime):
    """The functions of a LiteRT file; threads may share it: it computes one answer at a time."""

    def __init__(self, path: pathlib.Path, *, threads: int | None = None):
        """Loads a file.

        Args:
            path: of the .tflite file.
            threads: to compute with; by default as many as there are cores for this process.
        """
        self._interpreter = Interpreter(model_path=str(path), num_threads=threads or cores())
        self._runners: dict[str, Any] = {}
        self._one_at_a_time = threading.Lock()

    def run(self, signature: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """See `Runtime`."""
        with self._one_at_a_time:
            if signature not in self._runners:
                self._runners[signature] = self._interpreter.get_signature_runner(signature)
            return self._runners[signature](**inputs)


def load(export_dir: pathlib.Path, info: Mapping[str, Any], variant: str) -> LiteRTRuntime:
    """Loads one variant of an export; see `anil_tf.deploy.exported.load`."""
    return LiteRTRuntime(export_dir / info["variants"][variant])
