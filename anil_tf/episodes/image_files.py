"""Reads image files of one class folder, with errors that name the file."""

from __future__ import annotations

import concurrent.futures
import os
import pathlib
import struct
from collections.abc import Sequence

import numpy as np
from PIL import ExifTags, Image, ImageOps

from anil_tf.episodes.errors import DataError

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
_GREY_MODES = ("1", "L", "LA")
# What Pillow raises for files that are no images, or are damaged; struct.error is that of EXIF cut short.
_DAMAGE = (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError)
# The values of EXIF's orientation that lay an image on its side.
_ON_ITS_SIDE = (5, 6, 7, 8)


def in_folder(folder: pathlib.Path) -> list[pathlib.Path]:
    """The image files directly in a folder, sorted by name; hidden files are passed over."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in EXTENSIONS and not path.name.startswith(".") and path.is_file()
    )


def shape(path: pathlib.Path) -> tuple[int, int, int]:
    """Height, width and channels (1 or 3) of an upright image, from its header."""
    try:
        with Image.open(path) as image:
            height, width = image.height, image.width
            if image.getexif().get(ExifTags.Base.Orientation) in _ON_ITS_SIDE:
                height, width = width, height
            return height, width, 1 if image.mode in _GREY_MODES else 3
    except _DAMAGE as error:
        raise _unreadable(path, error) from error


def read(path: pathlib.Path, size: tuple[int, int], channels: int) -> np.ndarray:
    """Reads one image, turned upright as its EXIF orientation says.

    Args:
        path: the file.
        size: height and width of the result; another size is resized with averaging.
        channels: 1 (grey) or 3 (RGB); what is transparent is laid on white, as viewers show it.

    Returns:
        uint8 array [height, width, channels].
    """
    try:
        with Image.open(path) as image:
            upright = _on_white(ImageOps.exif_transpose(image))
            pixels = upright.convert("L" if channels == 1 else "RGB")
    except _DAMAGE as error:
        raise _unreadable(path, error) from error
    height, width = size
    if pixels.size != (width, height):
        pixels = pixels.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(pixels).reshape(height, width, channels)


def read_all(paths: Sequence[pathlib.Path], size: tuple[int, int], channels: int) -> np.ndarray:
    """Reads many images on all cores; see `read`. Returns uint8 [images, h, w, channels]."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return np.stack(list(pool.map(lambda path: read(path, size, channels), paths)))


def _on_white(image: Image.Image) -> Image.Image:
    """Lays what is transparent on white paper: black ink on nothing would be black on black."""
    if not image.has_transparency_data:
        return image
    ink = image.convert("RGBA")
    paper = Image.new("RGB", image.size, "white")
    paper.paste(ink, mask=ink)
    return paper


def _unreadable(path: pathlib.Path, error: Exception) -> DataError:
    return DataError(
        f"{path} is not a readable image ({type(error).__name__}: {error}); mend or remove it."
    )
