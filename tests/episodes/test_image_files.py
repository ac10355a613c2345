"""Image files of a folder, and those that are damaged."""

import pytest
from PIL import Image

from anil_tf.episodes import DataError, image_files


@pytest.mark.parametrize(
    "read", [image_files.shape, lambda path: image_files.read(path, (4, 4), 3)]
)
def test_exif_that_is_cut_short_is_said_of_the_file(read, tmp_path):
    path = tmp_path / "cut.png"
    # The header ends in its middle: Pillow unpacks it, and raises struct.error.
    Image.new("RGB", (8, 6)).save(path, exif=b"Exif\x00\x00II*\x00\x08")
    with pytest.raises(DataError, match="cut.png is not a readable image"):
        read(path)


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_transparent_is_laid_on_white(channels, tmp_path):
    """Its colour, which nobody sees, is black in most files."""
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    image.putpixel((0, 0), (0, 0, 0, 255))
    image.save(tmp_path / "ink.png")

    pixels = image_files.read(tmp_path / "ink.png", (1, 2), channels)

    assert pixels.tolist() == [[[0] * channels, [255] * channels]]
