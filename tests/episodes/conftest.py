"""What the tests of the episodes share."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def write_images():
    """Writes some noise images of one size and mode into a folder."""

    def write(folder: Path, count: int, size=(8, 6), mode="RGB", suffix=".png"):
        folder.mkdir(parents=True, exist_ok=True)
        generator = np.random.default_rng(len(folder.name))
        for number in range(count):
            shape = size[::-1] + ((3,) if mode == "RGB" else ())
            pixels = generator.integers(0, 256, shape, np.uint8)
            Image.fromarray(pixels).convert(mode).save(folder / f"{number:03d}{suffix}")

    return write
