"""Opens TFDS data sets and decodes them, with one-line errors where TFDS prints pages."""

from __future__ import annotations

import contextlib
import difflib
import io
import os
import socket
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from absl import logging

from anil_tf.episodes import pipeline
from anil_tf.episodes.errors import DataError

_DECODE_BATCH = 1024


def directory(data_dir: str | None) -> str | None:
    """TFDS' directory: `data_dir`, else the environment's TFDS_DATA_DIR, else None for TFDS' default."""
    if data_dir is None:
        return os.environ.get("TFDS_DATA_DIR") or None
    path = os.path.expanduser(data_dir)
    if not os.path.isdir(path):
        raise DataError(
            f"--data_dir={data_dir} is not a directory; give the directory that holds (or shall"
            " hold) TFDS data sets, or leave it out to use TFDS_DATA_DIR or TFDS' default."
        )
    return path


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps TFDS' progress bars, and what it prints while preparing, off the terminal."""
    bars = tfds.core.utils.tqdm_utils
    before = logging.get_verbosity()
    logging.set_verbosity(min(before, logging.WARNING))
    bars.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        bars.enable_progress_bar()
        logging.set_verbosity(before)


def is_on_disk(builder: tfds.core.DatasetBuilder) -> bool:
    """Whether a builder's data are prepared (TFDS' own question logs a warning if they are not)."""
    return os.path.isfile(os.path.join(builder.data_dir, "dataset_info.json"))


def open_builder(name: str, data_dir: str | None) -> tfds.core.DatasetBuilder:
    """Opens a TFDS data set, downloading and preparing it where that was not done before.

    Args:
        name: TFDS' name, such as "cifar100".
        data_dir: TFDS' directory; None means TFDS_DATA_DIR, then TFDS' default.

    Returns:
        A builder whose data are on disk.

    Raises:
        DataError: if there is no such data set, or its data are neither there nor to be had.
    """
    folder = directory(data_dir)
    try:
        with quiet():
            builder = tfds.builder(name, data_dir=folder)
    except tfds.core.registered.DatasetNotFoundError as error:  # which prints all that there are
        close = difflib.get_close_matches(name.split("/")[0], tfds.list_builders(), n=3)
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        raise DataError(
            f"TFDS has no data set {name!r}; {hint}its list is at"
            " https://www.tensorflow.org/datasets/catalog."
        ) from error
    except (ValueError, RuntimeError, AssertionError, ImportError) as error:
        raise DataError(f"TFDS cannot open {name!r}: {error}") from error
    if not is_on_disk(builder):
        _download(builder, name)
    return builder


def _download(builder: tfds.core.DatasetBuilder, name: str):
    """Downloads and prepares with TFDS' progress bars; DataError where that fails."""
    try:
        _require_network(builder)
        logging.warning("%s is downloaded and prepared in %s.", name, builder.data_dir)
        with contextlib.redirect_stdout(sys.stderr):  # standard output is for results
            builder.download_and_prepare()
    except DataError:
        raise
    except Exception as error:  # TFDS raises a class of its own for each kind of trouble
        cause = f"{type(error).__name__}: {error}"[:300]
        raise DataError(
            f"{name} is not in {os.path.dirname(os.path.dirname(builder.data_dir))} and could not"
            f" be downloaded and prepared ({cause}); {_where_to_look(name)}"
        ) from error


def _where_to_look(name: str) -> str:
    return (
        f"give a directory that holds {name} as TFDS prepares it with --data_dir or the"
        " environment variable TFDS_DATA_DIR, or connect to the network and try again."
    )


def _require_network(builder: tfds.core.DatasetBuilder):
    """Fails at once without network, where TFDS would try for minutes."""
    urls = list(builder.url_infos or ())
    if not urls or urllib.request.getproxies():
        return
    host = urllib.parse.urlparse(urls[0]).hostname
    try:
        socket.getaddrinfo(host, 443)
    except OSError as error:
        raise DataError(
            f"{builder.name} is not in"
            f" {os.path.dirname(os.path.dirname(builder.data_dir))} and there is no network to"
            f" download it ({host} not found); {_where_to_look(builder.name)}"
        ) from error


def decode(
    builder: tfds.core.DatasetBuilder,
    split: str,
    to_image: Callable[[tf.Tensor], tf.Tensor] | None = None,
    *,
    image_key: str = "image",
    label_key: str = "label",
) -> tuple[np.ndarray, np.ndarray]:
    """Decodes a whole split into memory.

    Args:
        builder: a prepared builder.
        split: TFDS' split, such as "train+test".
        to_image: turns one encoded image (a string scalar) into uint8 [height, width, channels]
            of one size for all; None leaves it as it is stored.
        image_key: the image feature's name.
        label_key: the label feature's name.

    Returns:
        Images, uint8 [images, height, width, channels], and labels, int64 [images], in the order
        on disk.
    """

    def as_stored(encoded: tf.Tensor) -> tf.Tensor:
        shape = builder.info.features[image_key].shape
        return tf.ensure_shape(tf.io.decode_png(encoded, channels=shape[-1]), shape)

    def convert(example: dict[str, Any]) -> tuple[tf.Tensor, tf.Tensor]:
        return (to_image or as_stored)(example[image_key]), example[label_key]

    with quiet(), tf.device("CPU:0"):
        examples = builder.as_dataset(
            split=split,
            shuffle_files=False,
            decoders={image_key: tfds.decode.SkipDecoding()},
        )
        decoded = examples.map(convert, num_parallel_calls=pipeline.PARALLEL_CALLS)
        batches = pipeline.untuned(decoded.batch(_DECODE_BATCH))
        images, labels = zip(*batches.as_numpy_iterator(), strict=True)
    return np.concatenate(images), np.concatenate(labels)
