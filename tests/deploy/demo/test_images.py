"""Uploads into pixels: read as training data are, and refused in words where they cannot be."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from anil_tf.deploy.demo import images
from anil_tf.deploy.demo.drawing import Drawing
from anil_tf.episodes import image_files

STROKES = Drawing("light_on_dark", 0.1, 0.8, strokes_only=True)


# EXIF whose header ends in its middle: Pillow unpacks it, and raises struct.error.
CUT_EXIF = b"Exif\x00\x00II*\x00\x08"


def encoded(array, format="PNG", **options):
    file = io.BytesIO()
    Image.fromarray(array).save(file, format, **options)
    return file.getvalue()


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("shape", [(28, 28, 1), (28, 28, 3), (7, 5, 3)])
def test_pixels_of_the_models_size_come_back_unchanged(shape):
    image = noise(*shape)
    np.testing.assert_array_equal(images.decode(images.to_png(image), shape), image)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("format", images.FORMATS)
def test_a_file_is_read_as_an_image_folder_is(format, channels, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    options = {"exif": exif} if format in ("JPEG", "PNG", "WEBP") else {}
    path = tmp_path / f"image.{format.lower()}"
    path.write_bytes(encoded(noise(40, 60, 3), format, **options))
    expected = image_files.read(path, (16, 20), channels)
    np.testing.assert_array_equal(images.decode(path.read_bytes(), (16, 20, channels)), expected)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no image that can be read"),
        (b"hello, this is text", "expected PNG, JPEG, GIF, BMP, WEBP, received 19 bytes"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "no image that can be read"),
        (encoded(noise(40, 40, 3))[:-300], "damaged"),
        (encoded(noise(40, 40, 3), "JPEG")[:500], "damaged"),
        (encoded(noise(40, 40, 3), "WEBP", exif=CUT_EXIF), "damaged"),
        (encoded(noise(40, 40, 3), "TIFF"), "no image that can be read"),
    ],
    ids=["nothing", "text", "postscript", "cut PNG", "cut JPEG", "cut EXIF", "rarer format"],
)
def test_what_is_no_image_is_refused_in_one_line(data, words):
    with pytest.raises(ValueError) as raised:
        images.decode(data, (28, 28, 1))
    assert words in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("side", [7_100, 9_000, 30_000])
def test_an_image_of_too_many_pixels_is_refused_by_its_header(side, monkeypatch):
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("was decoded"))
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk
    bomb += struct.pack(">I", zlib.crc32(chunk)) + struct.pack(">I", 0) + b"IDAT" + bytes(4)
    with pytest.raises(ValueError, match="too large: expected at most 50 million pixels"):
        images.decode(bomb, (28, 28, 1))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_laid_on_white(mode, channels):
    drawing = Image.new("RGBA", (28, 28), (0, 0, 0, 0))  # black ink on nothing, which is black too
    drawing.paste((0, 0, 0, 255), (12, 4, 16, 24))
    drawing.paste((0, 0, 0, 128), (0, 0, 4, 4))
    file = io.BytesIO()
    drawing.convert(mode).save(file, "PNG")
    image = images.decode(file.getvalue(), (28, 28, channels))
    assert (image[10, 13] == 0).all() and (image[10, 20] == 255).all()
    if mode != "P":
        assert abs(int(image[1, 1, 0]) - 127) <= 1


def test_ink_on_paper_is_turned_over_for_a_model_of_light_strokes():
    paper = np.full((28, 28, 1), 200, np.uint8)
    paper[10:18, 12:15] = 60  # a pen's stroke in poor light
    image, turned_over = images.with_the_ink_of(STROKES, paper)
    assert turned_over and image.shape == paper.shape
    assert image[0, 0, 0] == 0 and image[12, 13, 0] == 255


@pytest.mark.parametrize(
    "drawing", [STROKES, Drawing("dark_on_light", 0.1, None, strokes_only=False)]
)
def test_other_images_stay_as_they_are(drawing):
    image = np.zeros((28, 28, 1), np.uint8)
    image[10:18, 12:15] = 250
    same, turned_over = images.with_the_ink_of(drawing, image)
    assert not turned_over
    np.testing.assert_array_equal(same, image)
