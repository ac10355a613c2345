"""The page in a real browser, over a model that needs no runtime."""

import time

import numpy as np
import pytest
from PIL import Image

from tests.deploy.demo import strokes
from tests.deploy.demo.browser import open_browser
from tests.deploy.demo.fake_model import FakeModel

READY = "return document.body.dataset.ready"
EXAMPLES = "return document.querySelectorAll('.example').length"
PROBLEM = "const p = document.querySelector('#problem'); return !p.hidden && p.textContent"
SEEN = """
const seen = document.querySelector("#seen");
if (seen.hidden) return null;
const copy = Object.assign(document.createElement("canvas"), { width: seen.width, height: seen.height });
const context = copy.getContext("2d", { willReadFrequently: true });
context.drawImage(seen, 0, 0);
return [...context.getImageData(0, 0, seen.width, seen.height).data].filter((_, i) => i % 4 === 0);
"""
FOCUS = """
const one = document.activeElement;
if (one === document.body) return [null, true];
const shown = one.matches(".hidden") ? one.nextElementSibling : one;
const style = getComputedStyle(shown);
return [one.getAttribute("aria-label") ?? one.labels?.[0]?.textContent ?? one.textContent,
        style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2];
"""


@pytest.fixture(scope="module")
def browser():
    with open_browser() as browser:
        yield browser


@pytest.fixture
def page(browser, server):
    """The page as it is when opened, on a wide screen."""
    browser.resize(1100, 900)
    browser.prefer(prefers_color_scheme="light")
    browser.go(server.url)
    browser.wait(READY)
    yield browser
    assert browser.log() == [], "the console is not silent"


def seen(browser):
    """What the model sees of the picture at hand, uint8 [28, 28]."""
    return np.array(browser.wait(SEEN), np.uint8).reshape(28, 28)


def saved(path, pixels, **options):
    Image.fromarray(pixels).save(path, **options)
    return str(path)


def test_three_classes_of_strokes_are_learned_and_told_apart(page):
    assert "2 more classes need an example" in page.text("#progress")
    strokes.teach(page)
    page.wait("return document.querySelector('#progress').textContent.includes('6 examples')")
    assert page.text("#progress").startswith("Learned from 6 examples of 3 classes in ")
    assert page.text("#progress").endswith(" ms.")
    for name, character in strokes.CHARACTERS.items():
        assert strokes.answer(page, *character(seed=5)).startswith(f"{name}, ")
        best = page.run(
            "return [...document.querySelectorAll('.best input')].map((one) => one.value)"
        )
        assert name in best
    shares = page.run(
        "return [...document.querySelectorAll('.bar span')].map((one) => one.textContent)"
    )
    assert len(shares) == 3 and all("%" in share for share in shares)


def test_a_slow_server_loses_no_drawing(page, server, monkeypatch):
    prepare = server.service.prepare
    monkeypatch.setattr(server.service, "prepare", lambda data: time.sleep(0.5) or prepare(data))
    for place in (1, 2, 3):  # drawn and added faster than the server answers
        page.draw("#pad", *strokes.cross(place))
        page.click(f"#classes > li:nth-child({place}) .main")
    page.wait(f"{EXAMPLES} === 3")
    shown = "return [...document.querySelectorAll('.class')].map((c) => c.querySelectorAll('.example').length)"
    assert page.run(shown) == [1, 1, 1]


def test_a_drawing_looks_like_the_training_images(page):
    page.draw("#pad", [(0.1, 0.1), (0.1, 0.4), (0.25, 0.4)])  # small and in a corner
    image = seen(page)
    rows, columns = np.nonzero(image > 64)
    assert image[0].max() == 0 and image.max() == 255, "light strokes on dark"
    assert 0.7 < (np.ptp(rows) + 1) / 28 < 0.87, "as large as glyphs are"
    assert abs((rows.min() + rows.max()) / 2 - 13.5) < 1, "centred"
    stroke = (image[rows.min() + 8] / 255).sum()  # across the upright stroke
    assert 2.5 < stroke < 3.5, "as wide as those of glyphs"


def test_what_confuses_it_is_told(page):
    strokes.teach(page)
    # A circle among the crosses, where it does not belong.
    page.draw("#pad", *strokes.circle(seed=1))
    page.click("#classes > li:nth-child(2) .main")
    page.wait(
        "return document.querySelector('#confusion-note').textContent.startsWith('7 examples')"
    )
    assert "takes cross for circle: 1 of 3" in page.text("#confusion-note")
    cells = "return [...document.querySelectorAll('#confusion-table tbody tr')].map((row) => row.textContent)"
    assert page.run(cells)[1] == "cross120"
    wrong = page.run(
        "return [...document.querySelectorAll('td.wrong')].map((cell) => cell.textContent)"
    )
    assert wrong == ["1"]


def test_a_file_is_named_and_its_ink_turned_over(page, tmp_path):
    strokes.teach(page)
    paper = np.full((120, 120, 3), 230, np.uint8)
    diagonal = np.arange(20, 100)
    for width in range(-4, 5):
        paper[diagonal, diagonal + width] = paper[diagonal, 119 - diagonal + width] = 30
    page.type("#file", saved(tmp_path / "cross.jpg", paper))
    page.wait("return document.querySelector('#answer').textContent.startsWith('cross, ')")
    assert "Turned to light strokes on dark" in page.text("#answer-note")
    image = seen(page)
    assert image[0, 14] < 30 and image[14, 14] > 200
    page.click("#classes > li:nth-child(2) .main")
    page.wait("return document.querySelectorAll('.example').length === 7")


def test_files_dropped_on_a_class_become_its_examples(page):
    drop = """
    const [target, count] = arguments;
    const data = new DataTransfer();
    const canvas = document.createElement("canvas");
    for (let i = 0; i < count; i++) {
      const bytes = atob(canvas.toDataURL("image/png").split(",")[1]);
      data.items.add(new File([Uint8Array.from(bytes, (c) => c.charCodeAt(0))], `${i}.png`));
    }
    const options = { dataTransfer: data, bubbles: true, cancelable: true };
    document.querySelector(target).dispatchEvent(new DragEvent("drop", options));
    """
    page.run(drop, "#classes > li:nth-child(2)", 3)
    page.wait(
        "return document.querySelectorAll('#classes > li:nth-child(2) .example').length === 3"
    )
    page.run(drop, "#pad-frame", 1)
    assert seen(page).shape == (28, 28)
    page.run(drop, "h1", 1)  # a missed drop does nothing, and leaves the page where it is
    assert page.run(EXAMPLES) == 3


@pytest.mark.parametrize("where", ["#file", "#classes > li:nth-child(1) input[type=file]"])
def test_a_bad_upload_gets_a_clear_message(page, browser, tmp_path, where):
    notes = tmp_path / "notes.txt"
    notes.write_text("hello")
    page.type(where, str(notes))
    assert page.wait(PROBLEM).startswith(
        "Notes.txt: this is no image that can be read: expected PNG"
    )
    assert page.run("return document.querySelector('#problem').getAttribute('role')") == "alert"
    large = tmp_path / "large.png"
    large.write_bytes(bytes(20 * 2**20 + 1))
    page.type(where, str(large))
    message = "Large.png: this is too large: expected at most 20 MiB"
    page.wait(
        f"const p = document.querySelector('#problem'); return p.textContent.startsWith('{message}')"
    )
    page.click("#undo")
    assert not page.run(PROBLEM), "the message stays for ever"
    assert page.run(EXAMPLES) == 0
    log = browser.log()  # the browser itself notes the answer 400
    assert len(log) == 1 and "400" in log[0]


def test_one_bad_file_among_good_ones_is_named_and_the_good_ones_kept(page, tmp_path):
    good = [saved(tmp_path / f"{i}.png", np.full((9, 9), 40 * i, np.uint8)) for i in range(2)]
    bad = tmp_path / "bad.gif"
    bad.write_text("GIF89a, or not")
    page.type(
        "#classes > li:nth-child(1) input[type=file]", "\n".join([good[0], str(bad), good[1]])
    )
    assert page.wait(PROBLEM).startswith("Bad.gif: ")
    assert page.run(EXAMPLES) == 2
    page.log()


def test_the_camera_gives_pictures(page):
    page.click("#camera")
    page.wait(
        "const v = document.querySelector('#video'); return !v.hidden && v.videoWidth > 0 && v.currentTime > 0"
    )
    page.click("#shoot")
    assert np.ptp(seen(page).astype(int)) > 50, "the picture is empty"
    page.click("#classes > li:nth-child(1) .main")
    page.wait("return document.querySelectorAll('.example').length === 1")
    page.click("#shoot")
    page.wait(SEEN)
    page.click("#camera")
    assert page.run("return document.querySelector('#video').srcObject === null"), (
        "the camera stays on"
    )


def test_by_keyboard_alone(page, tmp_path):
    reached = []
    for _ in range(60):
        page.press("Tab")
        label, is_visible = page.run(FOCUS)
        if label is None:
            break
        reached.append((label, is_visible))
    names = [name for name, _ in reached]
    assert [name for name, is_visible in reached if not is_visible] == [], (
        "focus that cannot be seen"
    )
    wanted = ["Undo", "Clear", "Image file", "Camera", "Name of class 1", "Add picture to Class 1"]
    wanted += [
        "Files for Class 1",
        "Remove Class 1",
        "Name of class 3",
        "Add a class",
        "Start again",
    ]
    assert (
        names[0].startswith("Drawing pad") and [name for name in names if name in wanted] == wanted
    )

    # Pictures are chosen, added with a digit on the pad or a button, and named.
    for place, grey in enumerate((0, 120, 240), start=1):
        pixels = np.zeros((28, 28), np.uint8)
        pixels[8:20, 8:20] = grey
        page.type("#file", saved(tmp_path / f"{grey}.png", pixels))
        page.wait(SEEN)
        page.run("document.querySelector('#pad').focus()")
        page.press(str(place))
        page.wait(f"{EXAMPLES} === {place}")
    page.type("#file", str(tmp_path / "240.png"))
    page.wait("return document.querySelector('#answer').textContent.startsWith('Class 3, ')")
    assert page.run("return document.querySelector('#answer').ariaLive") == "polite"
    page.run("document.querySelector('[aria-label=\"Remove example 1 of Class 3\"]').focus()")
    page.press("Enter")
    page.wait(f"{EXAMPLES} === 2")
    assert page.run(FOCUS)[0] == "Add picture to Class 3", "the focus was lost"
    page.run("document.querySelector('[aria-label=\"Remove Class 3\"]').focus()")
    page.press("Enter")
    assert page.run(FOCUS)[0] == "Add picture to Class 2", "the focus was lost"
    page.run("document.querySelector('#pad').focus()")
    page.press("Delete")
    assert page.run("return document.querySelector('#seen').hidden")


def test_strokes_and_removals_can_be_taken_back(page):
    page.draw("#pad", *strokes.cross())
    both = seen(page)
    page.click("#pad")  # a dot, of no use
    page.press("z", holding="Control")
    page.wait("return document.activeElement.id === 'pad'")
    page.wait(SEEN)
    np.testing.assert_array_equal(seen(page), both)
    page.click("#classes > li:nth-child(1) .main")
    page.wait(f"{EXAMPLES} === 1")
    page.click("#reset")
    page.wait(f"{EXAMPLES} === 0")
    page.click("#bring-back")
    page.wait(f"{EXAMPLES} === 1")
    page.draw("#pad", *strokes.cross(1))
    page.click("#classes > li:nth-child(1) .main")  # a card that was brought back works
    page.wait(f"{EXAMPLES} === 2")


def test_classes_are_added_renamed_and_removed(page):
    page.click("#add-class")
    names = (
        "return [...document.querySelectorAll('#classes input[type=text]')].map((one) => one.value)"
    )
    assert page.run(names) == ["Class 1", "Class 2", "Class 3", "Class 4"]
    page.click("[aria-label='Remove Class 2']")
    page.clear("#classes > li:nth-child(1) input[type=text]")
    page.type("#classes > li:nth-child(1) input[type=text]", "<b>α & ω</b>")
    page.click("#add-class")
    assert page.run(names) == ["<b>α & ω</b>", "Class 3", "Class 4", "Class 1"]
    assert page.run(
        "return document.querySelector('[aria-label=\"Remove <b>α & ω</b>\"]') !== null"
    )


def test_a_forgotten_state_is_learned_again_unnoticed(page, browser, server):
    strokes.teach(page, examples=1)
    page.wait("return document.querySelector('#progress').textContent.includes('3 examples')")
    server.service._states.clear()  # as a restarted server has it
    assert strokes.answer(page, *strokes.circle(4)).startswith("circle, ")
    assert not page.run(PROBLEM)
    log = browser.log()  # the browser itself notes the answer 410
    assert len(log) == 1 and "410" in log[0]


def test_a_model_of_fixed_ways_asks_for_as_many_classes(browser, serve):
    with serve(FakeModel(ways=4)) as server:
        browser.go(server.url)
        browser.wait(READY)
        assert browser.run("return document.querySelector('#add-class').disabled")
        assert browser.run("return document.querySelectorAll('#classes > li').length") == 4
        assert "exactly 4 classes" in browser.text("#model")
        strokes.teach(browser, examples=1)
        browser.wait(
            "return document.querySelector('#progress').textContent.startsWith('One more class')"
        )
        browser.draw("#pad", [(0.1, 0.9), (0.9, 0.9)])
        browser.click("#classes > li:nth-child(4) .main")
        browser.wait(
            "return document.querySelector('#progress').textContent.includes('of 4 classes')"
        )


def test_a_server_that_has_gone_is_said(page, browser):
    browser.cut_off(True)
    try:
        page.draw("#pad", *strokes.cross())
        assert "Is bin/demo.py still running?" in page.wait(PROBLEM)
    finally:
        browser.cut_off(False)
    page.log()


@pytest.mark.parametrize("size", [(320, 568), (390, 844), (768, 1024)])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_small_screens_and_fingers(page, size, scheme):
    page.resize(*size, mobile=True)
    page.prefer(prefers_color_scheme=scheme)
    strokes.teach(page, examples=1)
    wide = "return [document.documentElement.scrollWidth, innerWidth]"
    assert page.run(wide) == [size[0], size[0]], "it scrolls sideways"
    small = """
    return [...document.querySelectorAll("button, label.button, input[type=text], #pad")]
      .filter((one) => one.offsetParent && Math.min(one.offsetWidth, one.offsetHeight) < 40)
      .map((one) => one.id || one.className || one.textContent);
    """
    assert page.run(small) == []


CONTRAST = """
const light = (color) => {
  const linear = (c) => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4;
  const [r, g, b] = color.match(/[0-9.]+/g).map((c) => linear(c / 255));
  return .2126 * r + .7152 * g + .0722 * b;
};
const ground = (one) => {
  const color = getComputedStyle(one).backgroundColor;
  return color !== "rgba(0, 0, 0, 0)" ? color : ground(one.parentElement);
};
return [...document.querySelectorAll("h1, p, button, label, input[type=text], th, td, dt, dd, output")]
  .filter((one) => one.textContent.trim() || one.value)
  .map((one) => {
    const [a, b] = [light(getComputedStyle(one).color), light(ground(one))];
    return [one.id || one.tagName + "." + one.className, (Math.max(a, b) + .05) / (Math.min(a, b) + .05)];
  })
  .filter(([, ratio]) => ratio < 4.5);
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_dark(page, scheme):
    page.prefer(prefers_color_scheme=scheme)
    strokes.teach(page)
    page.draw("#pad", *strokes.circle(seed=1))
    page.click("#classes > li:nth-child(2) .main")
    page.wait("return document.querySelector('td.wrong')")
    assert page.run(CONTRAST) == []


def test_nothing_is_loaded_from_elsewhere(page, server):
    loaded = page.run("return performance.getEntriesByType('resource').map((one) => one.name)")
    assert len(loaded) > 5 and all(address.startswith(server.url) for address in loaded)
    blocked = page.run("return fetch('http://127.0.0.2:9/').then(() => 'loaded', () => 'blocked')")
    assert blocked == "blocked"
    assert any("Content Security Policy" in message for message in page.log())
