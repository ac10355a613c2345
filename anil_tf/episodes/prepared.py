"""Opens TFDS data sets and decodes them, with one-line errors where TFDS prints pages."""

from __future__ import annotations

import contextlib
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
    """TFDS' directory: `data_dir`, else the environment's TFDS_DATA_DIR, else TFDS' default.

    Args:
        data_dir: the user's choice, or None.

    Returns:
        A path, or None for TFDS' default.

    Raises:
        DataError: if `data_dir` is given and does not exist.
    """
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
        DataError: if the data are neither there nor to be had.
    """
    folder = directory(data_dir)
    with quiet():
        builder = tfds.builder(name, data_dir=folder)
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
    to_image: Callable[[tf.Tensor], tf.Tensor],
    *,
    image_key: str = "image",
    label_key: str = "label",
) -> tuple[np.ndarray, np.ndarray]:
    """Decodes a whole split into memory.

    Args:
        builder: a prepared builder.
        split: TFDS' split, such as "train+test".
        to_image: turns one encoded image (a string scalar) into uint8 [height, width, channels]
            of one size for all.
        image_key: the image feature's name.
        label_key: the label feature's name.

    Returns:
        Images, uint8 [images, height, width, channels], and labels, int64 [images], in the order
        on disk.
    """

    def convert(example: dict[str, Any]) -> tuple[tf.Tensor, tf.Tensor]:
        return to_image(example[image_key]), example[label_key]

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
