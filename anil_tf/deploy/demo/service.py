"""What the page asks of the exported model, as plain values that JSON can hold."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from anil_tf.deploy.demo import images as image_files
from anil_tf.deploy.demo.confusion import leave_one_out
from anil_tf.deploy.demo.drawing import drawing_for
from anil_tf.deploy.exported import Exported

MAX_EXAMPLES = 500
_KEPT_STATES = 16
# What a PNG takes besides its pixels, and an image in JSON besides its base64: quotes, label, token.
_PNG_OVERHEAD, _JSON_OVERHEAD = 300, 16
_CONFUSION_SECONDS = 3.0
# What the page tells about the model: of export.json, of the protocol in it, and of what was measured.
_EXPORT_FACTS = ("name", "format", "normalization")
_PROTOCOL_FACTS = ("dataset", "split", "ways", "shots")
_MEASURED_FACTS = ("accuracy", "ci95", "calibration_error", "episodes")

_Result = TypeVar("_Result")


class Forgotten(LookupError):
    """A state that is no longer kept: the page has its examples and adapts again."""


class Service:
    """Adapts and answers for any number of pages; safe for threads.

    The examples stay in the page, which sends them all with each change: the server holds nothing
    that it could lose or mix up. An adapted state can be as large as the network (MAML's is), so it
    stays here and the page gets a token for it, the last 16 being kept in memory; a page whose
    state has gone adapts again, and nobody notices.
    """

    def __init__(self, model: Exported):
        """Serves an exported model that `refuse_unfit` lets pass."""
        refuse_unfit(model.info)
        self._model = model
        self._drawing = drawing_for(model.info)
        self._one_at_a_time = threading.Lock()  # not every runtime is safe for threads
        self._newest = object()  # another one with each request that somebody waits for
        self._keeping = threading.Lock()
        self._states: dict[str, dict[str, np.ndarray]] = {}  # by token, the latest used one last

    def warm_up(self) -> None:
        """Adapts and predicts once, so that the first time a page shows is not that of set-up."""
        ways = self._model.ways or 2
        images = np.zeros((ways, *self._model.image_shape), np.uint8)
        state, _ = self._adapt(images, np.arange(ways, dtype=np.int32))
        self._predict(images[:1], state)

    def about(self, max_upload: int) -> dict[str, Any]:
        """What the page has to know: image size, classes, ink, limits, and the model's facts.

        `max_examples` is so small that all of them fit in a request of `max_upload` bytes.
        """
        return {
            "image_shape": list(self._model.image_shape),
            "ways": self._model.ways,
            "drawing": dataclasses.asdict(self._drawing),
            "max_examples": min(MAX_EXAMPLES, max_upload // _sent_bytes(self._model.image_shape)),
            "max_upload": max_upload,
            "facts": self._facts(),
        }

    def prepare(self, data: bytes) -> dict[str, Any]:
        """Turns an image file into what the model sees of it.

        Returns:
            `image`: a PNG of the model's size, in base64; `turned_over`: whether dark and light
            were exchanged.
        """
        image = image_files.decode(data, self._model.image_shape)
        image, turned_over = image_files.with_the_ink_of(self._drawing, image)
        png = base64.b64encode(image_files.to_png(image)).decode("ascii")
        return {"image": png, "turned_over": turned_over}

    def adapt(self, images: Any, labels: Any) -> dict[str, Any]:
        """Adapts to examples.

        Args:
            images: a list of image files in base64.
            labels: a list of as many classes, 0..ways-1.

        Returns:
            `state`: a token for `predict`; `milliseconds` that adaptation took, not counting those
            that it waited for its turn.

        Raises:
            ValueError: for examples that the model does not take.
        """
        pixels, classes = self._examples(images, labels)
        self._newest = object()
        state, milliseconds = self._adapt(pixels, classes)
        return {"state": self._keep(state), "milliseconds": milliseconds}

    def predict(self, state: Any, images: Any) -> dict[str, Any]:
        """Names new images.

        Args:
            state: what `adapt` returned under that name.
            images: a list of image files in base64.

        Returns:
            `probabilities`: a list per image with one number per class; `milliseconds` as above.

        Raises:
            Forgotten: if the state is no longer kept.
            ValueError: for images that the model does not take.
        """
        kept = self._kept(state)
        pixels = self._images(images)
        self._newest = object()
        probabilities, milliseconds = self._predict(pixels, kept)
        return {"probabilities": probabilities.tolist(), "milliseconds": milliseconds}

    def confusion(self, images: Any, labels: Any) -> dict[str, Any]:
        """Names each example by a model adapted to all the others; see `leave_one_out`.

        It stops as soon as `adapt` or `predict` is asked for: somebody waits for those.

        Args:
            images: a list of image files in base64.
            labels: a list of as many classes, 0..ways-1.

        Returns:
            The fields of `Confusion`.
        """
        newest = self._newest
        pixels, classes = self._examples(images, labels)
        found = leave_one_out(
            lambda support, ones, new: self._predict(new, self._adapt(support, ones)[0])[0],
            pixels,
            classes,
            seconds=_CONFUSION_SECONDS,
            is_interrupted=lambda: self._newest is not newest,
        )
        return dataclasses.asdict(found) | {"counts": found.counts.tolist()}

    def _facts(self) -> dict[str, Any]:
        """Those facts of the export that are known."""
        info, variant = self._model.info, self._model.variant
        facts = {name: info.get(name) for name in _EXPORT_FACTS} | {"variant": variant}
        facts |= {name: info.get("protocol", {}).get(name) for name in _PROTOCOL_FACTS}
        measured = info.get("measured", {}).get(variant, {})
        facts |= {name: measured.get(name) for name in _MEASURED_FACTS}
        facts["size_bytes"] = info.get("size_bytes", {}).get(variant)
        return {name: value for name, value in facts.items() if value is not None}

    def _adapt(self, images: np.ndarray, labels: np.ndarray) -> tuple[dict[str, np.ndarray], float]:
        return self._in_turn(lambda: self._model.adapt(images, labels))

    def _predict(
        self, images: np.ndarray, state: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, float]:
        probabilities, milliseconds = self._in_turn(lambda: self._model.predict(images, state))
        if not np.isfinite(probabilities).all():
            raise ArithmeticError("the model answered with what is no number (NaN or infinity).")
        return probabilities, milliseconds

    def _in_turn(self, compute: Callable[[], _Result]) -> tuple[_Result, float]:
        """What the model computes, and the milliseconds from when it begins."""
        with self._one_at_a_time:
            begin = time.perf_counter()
            result = compute()
            return result, 1000 * (time.perf_counter() - begin)

    def _keep(self, state: dict[str, np.ndarray]) -> str:
        token = secrets.token_urlsafe(16)
        with self._keeping:
            self._states[token] = state
            while len(self._states) > _KEPT_STATES:
                del self._states[next(iter(self._states))]
        return token

    def _kept(self, token: Any) -> dict[str, np.ndarray]:
        with self._keeping:
            if not isinstance(token, str) or token not in self._states:
                raise Forgotten("this state is no longer kept: adapt again.")
            self._states[token] = state = self._states.pop(token)
            return state

    def _examples(self, images: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
        whole = isinstance(labels, list) and all(type(label) is int for label in labels)
        if not whole or not isinstance(images, list) or len(labels) != len(images):
            raise ValueError("expected a list of images, and a list of as many labels 0, 1, ...")
        # The model checks labels too, but the table of what is confused is made before.
        if set(labels) != set(range(len(set(labels)))):
            raise ValueError(
                f"expected examples of each class 0..n-1, received the classes {sorted(set(labels))[:20]}."
            )
        return self._images(images), np.asarray(labels, np.int32)

    def _images(self, images: Any) -> np.ndarray:
        if not isinstance(images, Sequence) or not 1 <= len(images) <= MAX_EXAMPLES:
            raise ValueError(f"expected a list of 1 to {MAX_EXAMPLES} images.")
        shape = self._model.image_shape
        return np.stack([image_files.decode(_from_base64(image), shape) for image in images])


def refuse_unfit(info: Mapping[str, Any]) -> None:
    """Refuses exports that the page cannot use, by their export.json, before they are loaded.

    Raises:
        ValueError: if it has no classes, or cannot adapt to examples of any number before it is asked.
    """
    if not info.get("takes_images", True):
        raise ValueError(
            "this export answers with numbers; the page is for models that name images."
        )
    if info["image_shape"][-1] not in (1, 3):
        raise ValueError(
            f"this export takes images of {info['image_shape'][-1]} channels; the page makes grey images "
            "and colour images, of 1 and 3."
        )
    if {"adapt", "predict"} <= set(info["signatures"]):
        return
    if info.get("normalization") == "episode":
        raise ValueError(
            "this export takes its statistics from examples and new images together, and so cannot "
            "adapt before it is asked, as the page does: export with --normalization=support."
        )
    raise ValueError(
        f"this {info['format']} export takes one fixed number of examples only; expected one that "
        "has adapt and predict: export with --format=saved_model or litert."
    )


def _sent_bytes(image_shape: tuple[int, ...]) -> int:
    """The most that one example takes of a request: a PNG that could not be compressed, in base64."""
    height, width, channels = image_shape
    pixels = height * (1 + width * channels)
    png = pixels + pixels // 1000 + _PNG_OVERHEAD
    return 4 * (png // 3 + 1) + _JSON_OVERHEAD


def _from_base64(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise ValueError("expected each image as an image file in base64.") from None
