"""An export, loaded: adapt and predict on NumPy arrays, whatever the format, with errors in one line.

Example:
    >>> model = load("runs/export")                        # doctest: +SKIP
    >>> state = model.adapt(support_images, support_labels)  # doctest: +SKIP
    >>> model.predict(query_images, state).argmax(axis=-1)   # doctest: +SKIP

TensorFlow is imported where the export is a SavedModel, and not otherwise: a LiteRT export runs where it
is not installed.
"""

from __future__ import annotations

import importlib
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from anil_tf.deploy.runtimes import Runtime

MANIFEST = "export.json"
# Images per pass of `predict`, `adapt_and_predict` and `embed`: bounds memory, whatever the number of images.
_CHUNK = 256
# What is read of export.json here, and in whatever uses an export.
_NEEDED = ("format", "variants", "image_shape", "signatures", "ways", "state")


class Exported:
    """An exported model that learns.

    Attributes:
        info: what export.json says.
        variant: which of the export's files this is, such as "float32".
    """

    def __init__(self, runtime: Runtime, info: dict[str, Any], variant: str):
        """Made by `load`."""
        self._runtime, self.info, self.variant = runtime, info, variant

    @property
    def ways(self) -> int | None:
        """The only number of classes that it takes; None for any of 2 or more."""
        return self.info["ways"]

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Height, width and channels that the network works on; images of other sizes are resized."""
        return tuple(self.info["image_shape"])

    @property
    def classifies(self) -> bool:
        """Whether labels are classes, and not numbers to predict."""
        return self.info.get("classifies", True)

    def adapt(self, images: Any, labels: Any) -> dict[str, np.ndarray]:
        """Learns a task from examples.

        Args:
            images: uint8 [n, height, width, channels], of any height and width.
            labels: int [n], 0..ways-1, each class with one image or more.

        Returns:
            The state by name: a few arrays that `predict` takes, and that can be kept.

        Raises:
            ValueError: for images or labels that are none, in one line.
        """
        self._require("adapt")
        images = self._images(images, "support_images")
        return self._runtime.adapt(images, self._labels(labels, len(images)))

    def predict(self, images: Any, state: Mapping[str, np.ndarray]) -> np.ndarray:
        """Answers new images.

        Args:
            images: uint8 [m, height, width, channels].
            state: what `adapt` returned.

        Returns:
            float32 [m, ways], probabilities (of a regression: the numbers, [m, k]).

        Raises:
            ValueError: for images or a state that are none, in one line.
        """
        self._require("predict")
        images, state = self._images(images, "query_images"), self._state(state)
        return _in_chunks(lambda chunk: self._runtime.predict(chunk, state), images)

    def adapt_and_predict(self, images: Any, labels: Any, queries: Any) -> np.ndarray:
        """Learns a task and answers new images, `queries`, in one call; see `adapt` and `predict`."""
        self._require("adapt_and_predict")
        images = self._images(images, "support_images")
        labels = self._labels(labels, len(images))
        queries = self._images(queries, "query_images")

        def answer(some: np.ndarray) -> np.ndarray:
            return self._runtime.adapt_and_predict(images, labels, some)

        # Under `episode` an answer depends on the other queries, so that they have to stay together.
        together = self.info.get("normalization") == "episode"
        return answer(queries) if together else _in_chunks(answer, queries)

    def embed(self, images: Any) -> np.ndarray:
        """Features of images, of no task.

        Args:
            images: uint8 [n, height, width, channels], of any height and width.

        Returns:
            float32 [n, d], by the moving statistics of batch normalisation.

        Raises:
            ValueError: for images that are none, and where the export has no `embed`, in one line.
        """
        self._require("embed")
        return _in_chunks(self._runtime.embed, self._images(images, "images"))

    def _require(self, signature: str) -> None:
        there = self.info["signatures"]
        if signature not in there:
            raise ValueError(
                f"this export has no {signature}; it has {', '.join(there)} (see model_card.md)."
            )

    def _images(self, images: Any, name: str) -> np.ndarray:
        images = np.asarray(images)
        if not self.info.get("takes_images", True):
            return _numbers(images, self.image_shape, name)
        channels = self.image_shape[-1]
        wanted = f"{name}: expected uint8 [count, height, width, {channels}]"
        if images.ndim != 4 or images.shape[-1] != channels or 0 in images.shape:
            raise ValueError(f"{wanted}, none of them 0; received shape {list(images.shape)}.")
        if images.dtype != np.uint8:
            raise ValueError(f"{wanted}, pixels 0..255; received {images.dtype}.")
        return images

    def _labels(self, labels: Any, count: int) -> np.ndarray:
        labels = np.asarray(labels)
        if len(labels.shape) == 0 or len(labels) != count:
            received = "a single value" if labels.ndim == 0 else f"{len(labels)} labels"
            raise ValueError(
                f"support_labels: expected one label for each of {count} images, received {received}."
            )
        if not self.classifies:
            columns = (self.info["outputs"],)
            return _numbers(labels.reshape(count, -1), columns, "support_labels")
        return _classes(labels, self.ways)

    def _state(self, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The tensors of the state that predictions need, in their types."""
        wanted = {tensor["name"]: tensor for tensor in self.info["state"]}
        if not isinstance(state, Mapping) or set(state) != set(wanted):
            names = sorted(state) if isinstance(state, Mapping) else type(state).__name__
            raise ValueError(
                f"state: expected what adapt returned, {', '.join(sorted(wanted))}; received {names}."
            )
        arrays = {name: np.asarray(state[name]) for name in wanted}
        ways: set[int] = set()
        for name, array in arrays.items():
            shape = wanted[name]["shape"]
            free = [axis for axis, length in enumerate(shape) if length is None]
            fits = array.ndim == len(shape) and all(
                axis in free or array.shape[axis] == length for axis, length in enumerate(shape)
            )
            if not fits:
                shown = ", ".join("ways" if length is None else str(length) for length in shape)
                raise ValueError(
                    f"state: expected {name} of shape [{shown}], received {list(array.shape)}."
                )
            ways.update(array.shape[axis] for axis in free)
        if len(ways) > 1:
            raise ValueError(
                f"state: expected tensors of one number of ways, received {sorted(ways)}."
            )
        return {name: array.astype(wanted[name]["dtype"]) for name, array in arrays.items()}


def load(export_dir: str | os.PathLike[str], variant: str | None = None) -> Exported:
    """Loads an export.

    Args:
        export_dir: what bin/export.py wrote.
        variant: which file of those it has, such as "int8"; by default its first.

    Returns:
        The model, ready to be asked.

    Raises:
        ValueError: where there is no export, or no such variant, or a file of it is missing or broken, or the format's
            runtime is not installed.
    """
    directory = pathlib.Path(export_dir)
    info = read_manifest(directory)
    variant = variant or next(iter(info["variants"]))
    if variant not in info["variants"]:
        raise ValueError(
            f"variant: expected one of {', '.join(info['variants'])}, received {variant!r}."
        )
    name = info["format"]
    try:
        runtime = importlib.import_module(f"anil_tf.deploy.runtimes.{name}")
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{directory}: an export of format {name} needs {error.name}, which is not installed."
        ) from error
    try:
        return Exported(runtime.load(directory, info, variant), info, variant)
    except OSError as error:
        raise ValueError(
            f"{directory}: expected the files that bin/export.py wrote; {error}"
        ) from error


def read_manifest(export_dir: str | os.PathLike[str]) -> dict[str, Any]:
    """What export.json says.

    Raises:
        ValueError: where there is none, none that can be read, or one that lacks what an export needs.
    """
    path = pathlib.Path(export_dir) / MANIFEST
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(
            f"{export_dir}: expected a directory that bin/export.py wrote, found no {MANIFEST} in it."
        ) from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: expected an export's facts as JSON; {error}.") from error
    if not isinstance(info, dict):
        raise ValueError(f"{path}: expected the facts of an export, received something else.")
    missing = [name for name in _NEEDED if name not in info]
    if missing:
        raise ValueError(
            f"{path}: expected the facts of an export, received none on {', '.join(missing)}; export anew with "
            "bin/export.py."
        )
    return info


def _classes(labels: np.ndarray, ways: int | None) -> np.ndarray:
    """Labels as int32, found to be 0..ways-1 with none left out."""
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(
            f"support_labels: expected int [count], received {labels.dtype} {list(labels.shape)}."
        )
    found = set(labels.tolist())
    wanted = ways or max(len(found), 2)
    outside = sorted(found - set(range(wanted)))
    missing = sorted(set(range(wanted)) - found)
    if outside or missing:
        size = (
            f"{ways} classes, 0..{ways - 1}," if ways else "classes 0..ways-1, ways of 2 or more,"
        )
        said = [
            f"{what} {_few(which)}"
            for what, which in (("without", missing), ("with", outside))
            if which
        ]
        raise ValueError(
            f"support_labels: expected {size} each on one image or more; received labels {' and '.join(said)}."
        )
    return labels.astype(np.int32)


def _few(labels: list[int]) -> str:
    shown = ", ".join(map(str, labels[:5]))
    return shown + (f" and {len(labels) - 5} more" if len(labels) > 5 else "")


def _numbers(values: np.ndarray, shape: tuple[int, ...], name: str) -> np.ndarray:
    """Numbers [count, *shape] as float32."""
    wanted = f"{name}: expected numbers [count, {', '.join(map(str, shape))}]"
    if values.dtype.kind not in "fiu" or values.shape[1:] != shape or len(values) == 0:
        raise ValueError(f"{wanted}; received {values.dtype} {list(values.shape)}.")
    return values.astype(np.float32)


def _in_chunks(function: Any, images: np.ndarray) -> np.ndarray:
    chunks = [images[first : first + _CHUNK] for first in range(0, len(images), _CHUNK)]
    return np.concatenate([function(chunk) for chunk in chunks])
