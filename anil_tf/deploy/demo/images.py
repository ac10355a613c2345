"""Uploaded image files into the pixels that a model takes, with care for what a stranger may send."""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import Image, ImageOps

from anil_tf.deploy.demo.drawing import LIGHT_ON_DARK, Drawing

# The formats that image folders are read in; Pillow's rarer decoders stay out of a stranger's reach.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP")
MAX_PIXELS = 50_000_000


def decode(data: bytes, image_shape: tuple[int, ...]) -> np.ndarray:
    """Reads an image file as the training data are read: upright, stretched to the model's size.

    Args:
        data: the file: PNG, JPEG, GIF (its first frame), BMP or WebP.
        image_shape: height, width and channels (1 or 3) of the result. Another size is resized with
            averaging, as the exported model itself does it. What is transparent is laid on white, as
            viewers show it.

    Returns:
        uint8 array of shape `image_shape`.

    Raises:
        ValueError: for what is no such file, is damaged, or has more than `MAX_PIXELS`.
    """
    height, width, channels = image_shape
    too_large = (
        f"this image is too large: expected at most {MAX_PIXELS // 1_000_000} million pixels"
    )
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:  # by the header: nothing is decoded yet
                too_large += f", received {image.width} x {image.height}; make it smaller"
                raise Image.DecompressionBombError
            image.load()
            upright = _on_white(ImageOps.exif_transpose(image))
            pixels = upright.convert("L" if channels == 1 else "RGB")
    except Image.UnidentifiedImageError:
        raise ValueError(
            f"this is no image that can be read: expected {', '.join(FORMATS)}, received "
            f"{len(data)} bytes of something else."
        ) from None
    except Image.DecompressionBombError:
        raise ValueError(f"{too_large}.") from None
    except (OSError, ValueError, SyntaxError, EOFError, struct.error) as error:
        raise ValueError(f"this image is damaged: {' '.join(str(error).split())}.") from error
    if pixels.size != (width, height):
        pixels = pixels.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(pixels, dtype=np.uint8).reshape(height, width, channels)


def with_the_ink_of(drawing: Drawing, image: np.ndarray) -> tuple[np.ndarray, bool]:
    """Turns over strokes whose ink is not that of the training images, such as a pen's on paper.

    Args:
        drawing: how strokes have to look.
        image: uint8 [height, width, 1].

    Returns:
        The image, and whether it was turned over, its contrast then stretched to 0..255. What lies
        at the border is taken for the ground. A model that was not trained on strokes gets its
        images as they are.
    """
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    is_dark = float(np.mean(border)) < 127.5
    if not drawing.strokes_only or is_dark == (drawing.ink == LIGHT_ON_DARK):
        return image, False
    grey = ImageOps.autocontrast(Image.fromarray(255 - image[..., 0]), cutoff=1)
    return np.asarray(grey)[..., np.newaxis], True


def to_png(image: np.ndarray) -> bytes:
    """Writes pixels, uint8 [height, width, 1 or 3], as a PNG file, from which `decode` has them back."""
    file = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, "PNG")
    return file.getvalue()


def _on_white(image: Image.Image) -> Image.Image:
    """Lays what is transparent on white paper: black ink on nothing would be black on black."""
    if not image.has_transparency_data:
        return image
    ink = image.convert("RGBA")
    paper = Image.new("RGB", image.size, "white")
    paper.paste(ink, mask=ink)
    return paper
