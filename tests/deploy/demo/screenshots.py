"""Makes the pictures of the page that the documentation shows: `make pictures`.

python -m tests.deploy.demo.screenshots EXPORT_DIR OUTPUT_DIR
"""

import argparse
import io
from pathlib import Path

from PIL import Image

from tests.deploy.demo import binary, strokes
from tests.deploy.demo.browser import open_browser

LIMIT = 150_000  # bytes
EXAMPLES = 3


def main():
    parser = argparse.ArgumentParser(usage="make pictures EXPORT_DIR=DIR")
    parser.add_argument("export_dir")
    parser.add_argument("output_dir", type=Path)
    arguments = parser.parse_args()
    output_dir = arguments.output_dir
    with binary.started(arguments.export_dir) as (_, url), open_browser() as browser:
        browser.resize(1080, 1110)
        browser.prefer(prefers_color_scheme="light", prefers_reduced_motion="reduce")
        browser.go(url)
        browser.wait("return document.body.dataset.ready")
        browser.click("#add-class")
        strokes.teach(browser, EXAMPLES, strokes.CHARACTERS | {"arc": strokes.arc})
        # A circle among the crosses, so that there is something to confuse.
        browser.draw("#pad", *strokes.circle(seed=1))
        browser.click("#classes > li:nth-child(2) .main")
        browser.wait("return document.querySelectorAll('#confusion-table tbody tr').length === 4")
        browser.wait("return document.querySelector('td.wrong')")
        print(strokes.answer(browser, *strokes.arc(seed=4)))
        save(browser.picture(), output_dir / "demo.png")
        browser.resize(390, 844, mobile=True)
        browser.prefer(prefers_color_scheme="dark", prefers_reduced_motion="reduce")
        print(strokes.answer(browser, *strokes.circle(seed=5)))
        browser.run("window.scrollTo(0, 0)")
        save(browser.picture(), output_dir / "demo_phone.png")


def save(picture, path):
    """Saves a picture of few colours in few bytes."""
    Image.open(io.BytesIO(picture)).convert("RGB").quantize(128).save(path, optimize=True)
    size = path.stat().st_size
    assert size < LIMIT, f"{path} has {size} bytes"
    print(f"{path}: {size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
