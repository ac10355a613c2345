"""What runs an export in Python, one module per format; `anil_tf.deploy.exported` chooses."""

from __future__ import annotations

import abc
from collections.abc import Mapping

import numpy as np


class Runtime(abc.ABC):
    """The functions of one exported file, on NumPy arrays that somebody has checked."""

    @abc.abstractmethod
    def run(self, signature: str, **inputs: np.ndarray) -> Mapping[str, np.ndarray]:
        """Computes one of the file's functions: inputs by name -> outputs by name."""

    def adapt(self, images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
        """Support images [n, ...] and labels [n] -> state."""
        return dict(self.run("adapt", support_images=images, support_labels=labels))

    def predict(self, images: np.ndarray, state: Mapping[str, np.ndarray]) -> np.ndarray:
        """Query images [m, ...] and state -> probabilities [m, ways]."""
        return _only(self.run("predict", query_images=images, **state))

    def adapt_and_predict(
        self, images: np.ndarray, labels: np.ndarray, queries: np.ndarray
    ) -> np.ndarray:
        """Support images, labels, query images [m, ...] -> probabilities [m, ways]."""
        inputs = {"support_images": images, "support_labels": labels, "query_images": queries}
        return _only(self.run("adapt_and_predict", **inputs))

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Images [n, ...] -> features [n, d]."""
        return _only(self.run("embed", images=images))


def _only(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    (array,) = outputs.values()
    return array
