"""The page in a real browser, over a model that needs no runtime."""

import time

import numpy as np
import pytest
from PIL import Image

from tests.deploy.demo import strokes
from tests.deploy.demo.browser import open_browser
from tests.deploy.demo.fake_model import FakeModel

EXAMPLES = "return document.querySelectorAll('.example').length"
QUIET = 0.8  # seconds; longer than the page waits before it asks what confuses the model
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


def open_page(browser, server):
    browser.go(server.url)
    browser.wait("return document.body.dataset.ready")


def wait_for(browser, selector, words):
    """Waits until an element says these words."""
    said = "return document.querySelector(arguments[0]).textContent.includes(arguments[1])"
    browser.wait(said, selector, words)


def add(browser, place, *drawing, total=None):
    """Adds a drawing, or the picture at hand, to a class; waits until there are so many examples."""
    if drawing:
        browser.draw("#pad", *drawing)
    browser.click(f"#classes > li:nth-child({place}) .main")
    if total is not None:
        browser.wait(f"{EXAMPLES} === {total}")


@pytest.fixture
def page(browser, server):
    """The page as it is when opened, on a wide screen."""
    browser.resize(1100, 900)
    browser.prefer(prefers_color_scheme="light")
    open_page(browser, server)
    yield browser
    assert browser.log() == [], "the console is not silent"


def tab_to(browser, label):
    """Goes by the Tab key to what has a label that begins so."""
    for _ in range(80):
        browser.press("Tab")
        if (browser.run(FOCUS)[0] or "").startswith(label):
            return
    raise AssertionError(f"Tab never reaches {label}")


def counted(monkeypatch, service):
    """The requests that a service gets from now on, by name."""
    asked = []

    def count(name):
        answer = getattr(service, name)

        def counting(*values, **fields):
            asked.append(name)
            return answer(*values, **fields)

        monkeypatch.setattr(service, name, counting)

    for name in ("prepare", "adapt", "predict", "confusion"):
        count(name)
    return asked


def settle(asked):
    """Waits until the page has nothing more to ask, given the requests so far."""
    while asked:
        asked.clear()
        time.sleep(QUIET)


def seen(browser):
    """What the model sees of the picture at hand, uint8 [28, 28]."""
    return np.array(browser.wait(SEEN), np.uint8).reshape(28, 28)


def saved(path, pixels, **options):
    Image.fromarray(pixels).save(path, **options)
    return str(path)


def test_three_classes_of_strokes_are_learned_and_told_apart(page):
    assert "2 more classes need an example" in page.text("#progress")
    strokes.teach(page)
    wait_for(page, "#progress", "6 examples")
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
        add(page, place, *strokes.cross(place))
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


def test_a_second_finger_leaves_a_stroke_alone(page):
    # A corner: half of a straight line, enlarged, would look like all of it.
    line = [(0.2, 0.2), (0.2, 0.4), (0.2, 0.6), (0.2, 0.8), (0.5, 0.8), (0.8, 0.8)]
    elsewhere = (0.5, 0.1)
    page.touch("#pad", [*line, None])
    alone = seen(page)
    page.click("#clear")
    # It comes down, moves and leaves while the first one draws.
    page.touch("#pad", [*line, None], [None, elsewhere, (0.9, 0.9), None])
    np.testing.assert_array_equal(seen(page), alone)


def test_a_newcomer_is_told_what_to_do(page):
    shown = (
        "const hint = document.querySelector('#hint'); return hint.hidden ? '' : hint.textContent"
    )
    assert page.run(shown) == "Draw here, then add the picture to a class."
    page.draw("#pad", *strokes.cross())
    assert page.run(shown), "adding is still to be done"
    add(page, 1, total=1)
    assert not page.run(shown)
    page.click("#reset")
    assert page.run(shown)


def test_what_confuses_it_is_asked_again_where_it_was_interrupted(page, server, monkeypatch):
    confusion, cut = server.service.confusion, []

    def first_interrupted(**examples):
        found = confusion(**examples)
        if not cut:
            cut.append(found)
            return found | {"interrupted": True, "counts": [[9, 9], [9, 9]]}
        return found

    monkeypatch.setattr(server.service, "confusion", first_interrupted)
    strokes.teach(page, 2, {"circle": strokes.circle, "cross": strokes.cross})
    page.wait("return document.querySelector('#confusion-table td')")
    assert cut and "9" not in page.text("#confusion-table")


def test_what_confuses_it_is_told(page):
    strokes.teach(page)
    # A circle among the crosses, where it does not belong.
    add(page, 2, *strokes.circle(seed=1))
    wait_for(page, "#confusion-note", "7 examples")
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
    wait_for(page, "#answer", "cross, ")
    assert "Turned to light strokes on dark" in page.text("#answer-note")
    image = seen(page)
    assert image[0, 14] < 30 and image[14, 14] > 200
    add(page, 2, total=7)


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


DROP_KEPT = """
const data = new DataTransfer();
for (const file of window.kept) data.items.add(file);
document.querySelector(arguments[0]).dispatchEvent(
  new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
"""


@pytest.mark.parametrize("where", ["#pad-frame", "#classes > li:nth-child(1)"])
def test_a_file_that_cannot_be_read_is_told_from_a_silent_server(page, tmp_path, where):
    path = tmp_path / "photo.png"
    saved(path, np.zeros((9, 9), np.uint8))
    keep = """
    document.addEventListener("change", (event) => {
      window.kept = [...event.target.files];
      event.stopPropagation();
    }, { capture: true, once: true });
    """
    page.run(keep)
    page.type("#file", str(path))
    path.unlink()  # what is left, like a folder, has a name and no bytes
    page.run(DROP_KEPT, where)
    assert page.wait(PROBLEM).startswith("Photo.png: this cannot be read.")
    assert page.run(EXAMPLES) == 0


def test_of_several_files_dropped_on_the_pad_the_first_is_taken_and_this_is_said(page):
    make = """
    const canvas = document.createElement("canvas");
    const bytes = Uint8Array.from(atob(canvas.toDataURL().split(",")[1]), (c) => c.charCodeAt(0));
    window.kept = ["a.png", "b.png"].map((name) => new File([bytes], name));
    """
    page.run(make)
    page.run(DROP_KEPT, "#pad-frame")
    assert page.wait(PROBLEM) == (
        "Only the first of 2 files was taken, a.png: drop several on a class."
    )
    assert seen(page).shape == (28, 28)


def test_no_more_examples_are_sent_than_the_model_is_given(browser, serve, monkeypatch, tmp_path):
    with serve(FakeModel()) as server:
        about = server.service.about
        monkeypatch.setattr(server.service, "about", lambda most: about(most) | {"max_examples": 3})
        open_page(browser, server)
        asked = counted(monkeypatch, server.service)
        files = [saved(tmp_path / f"{i}.png", np.full((9, 9), i, np.uint8)) for i in range(5)]
        browser.type("#classes > li:nth-child(1) input[type=file]", "\n".join(files))
        full = "At most 3 examples can be learned from; remove some first."
        assert browser.wait(PROBLEM) == full
        assert browser.run(EXAMPLES) == 3 and asked.count("prepare") == 3
        browser.draw("#pad", *strokes.cross())
        browser.wait(SEEN)
        browser.click("#classes > li:nth-child(2) .main")
        assert browser.wait(PROBLEM) == full
        assert browser.run(EXAMPLES) == 3
        assert browser.run("return !document.querySelector('#seen').hidden"), "the drawing is lost"


NOTES = "Notes.txt: this is no image that can be read: expected PNG"


def test_bad_files_get_clear_messages_and_the_good_ones_among_them_are_kept(
    page, browser, tmp_path
):
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "large.png").write_bytes(bytes(20 * 2**20 + 1))
    good = [saved(tmp_path / f"{i}.png", np.full((9, 9), 40 * i, np.uint8)) for i in range(2)]
    page.type("#file", str(tmp_path / "notes.txt"))
    assert page.wait(PROBLEM).startswith(NOTES)
    assert page.run("return document.querySelector('#problem').getAttribute('role')") == "alert"
    page.click("#classes > li:nth-child(1) .main")
    assert page.wait(PROBLEM).startswith("First draw something")
    page.click("#undo")
    assert not page.run(PROBLEM), "the message stays for ever"
    page.type("#file", str(tmp_path / "large.png"))
    assert page.wait(PROBLEM).startswith("Large.png: this is too large: expected at most 20 MiB")
    files = "\n".join([good[0], str(tmp_path / "notes.txt"), good[1]])
    page.type("#classes > li:nth-child(1) input[type=file]", files)
    page.wait(
        f"const p = document.querySelector('#problem'); return p.textContent.startsWith('{NOTES}')"
    )
    page.wait(f"{EXAMPLES} === 2")
    log = browser.log()  # the browser itself notes the answers 400
    assert len(log) == 2 and all("400" in line for line in log)


def test_the_camera_gives_pictures(page):
    page.click("#camera")
    page.wait(
        "const v = document.querySelector('#video'); return !v.hidden && v.videoWidth > 0 && v.currentTime > 0"
    )
    page.click("#shoot")
    assert np.ptp(seen(page).astype(int)) > 50, "the picture is empty"
    add(page, 1, total=1)
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
        tab_to(page, "Drawing pad")
        page.press(str(place))
        page.wait(f"{EXAMPLES} === {place}")
    page.type("#file", str(tmp_path / "240.png"))
    wait_for(page, "#answer", "Class 3, ")
    assert page.run("return document.querySelector('#answer').ariaLive") == "polite"
    tab_to(page, "Remove example 1 of Class 3")
    page.press("Enter")
    page.wait(f"{EXAMPLES} === 2")
    assert page.run(FOCUS)[0] == "Add picture to Class 3", "the focus was lost"
    tab_to(page, "Remove Class 3")
    page.press("Enter")
    assert page.run(FOCUS)[0] == "Add picture to Class 2", "the focus was lost"
    tab_to(page, "Drawing pad")
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
    add(page, 1, total=1)
    page.click("#reset")
    page.wait(f"{EXAMPLES} === 0")
    page.click("#bring-back")
    page.wait(f"{EXAMPLES} === 1")
    add(page, 1, *strokes.cross(1), total=2)  # a card that was brought back works


NAMES = "return [...document.querySelectorAll('#classes input[type=text]')].map((one) => one.value)"


def test_what_came_after_a_removal_survives_taking_it_back(page):
    for place in (1, 2):
        add(page, 1, *strokes.cross(place), total=place)
    page.click("[aria-label='Remove example 1 of Class 1']")
    for place in (1, 2, 3):
        add(page, 2, *strokes.circle(place), total=place + 1)
    page.click("#add-class")
    page.type("#classes > li:nth-child(4) input[type=text]", "!")
    page.click("#bring-back")
    page.wait(f"{EXAMPLES} === 5")
    assert page.run(NAMES) == ["Class 1", "Class 2", "Class 3", "Class 4!"]

    page.click("#reset")
    add(page, 1, *strokes.gamma(), total=1)
    page.click("#bring-back")
    page.wait(f"{EXAMPLES} === 6")
    assert len(page.run(NAMES)) == 5, "the class that was taught since has gone"
    wait_for(page, "#progress", "6 examples of 3")


def test_of_a_class_brought_back_too_many_is_refused_and_nothing_lost(browser, serve):
    with serve(FakeModel(ways=2)) as server:
        open_page(browser, server)
        strokes.teach(browser, 1, {"circle": strokes.circle, "cross": strokes.cross})
        browser.click("[aria-label='Remove cross']")
        browser.click("#add-class")
        add(browser, 2, *strokes.gamma(), total=2)
        browser.click("#bring-back")
        assert "That would be 3 classes, and the model takes 2" in browser.wait(PROBLEM)
        browser.click("#classes > li:nth-child(2) .row:last-child > button")
        assert browser.run(EXAMPLES) == 1
        assert browser.log() == []


def test_a_new_name_changes_names_and_nothing_else(page, server, monkeypatch):
    asked = counted(monkeypatch, server.service)
    strokes.teach(page)
    assert strokes.answer(page, *strokes.cross(5)).startswith("cross, ")
    settle(asked)
    assert page.text("#confusion-note").startswith("6 examples")
    page.run("document.querySelectorAll('.example canvas').forEach((one) => { one.kept = true; })")
    page.type("#classes > li:nth-child(2) input[type=text]", "es")
    assert page.text("#answer").startswith("crosses, ")
    assert "crosses" in page.text("#confusion-table thead")
    label = "return document.querySelector('[aria-label=\"Remove example 2 of crosses\"]') !== null"
    assert page.run(label)
    time.sleep(QUIET)
    assert asked == []
    kept = "return [...document.querySelectorAll('.example canvas')].every((one) => one.kept)"
    assert page.run(kept), "the examples were painted anew"


def test_classes_are_added_renamed_and_removed(page):
    page.click("#add-class")
    assert page.run(NAMES) == ["Class 1", "Class 2", "Class 3", "Class 4"]
    page.click("[aria-label='Remove Class 2']")
    page.clear("#classes > li:nth-child(1) input[type=text]")
    page.type("#classes > li:nth-child(1) input[type=text]", "<b>α & ω</b>")
    page.click("#add-class")
    assert page.run(NAMES) == ["<b>α & ω</b>", "Class 3", "Class 4", "Class 1"]
    assert page.run(
        "return document.querySelector('[aria-label=\"Remove <b>α & ω</b>\"]') !== null"
    )


def test_a_forgotten_state_is_learned_again_unnoticed(page, browser, server):
    strokes.teach(page, examples=1)
    wait_for(page, "#progress", "3 examples")
    server.service._states.clear()  # as a restarted server has it
    assert strokes.answer(page, *strokes.circle(4)).startswith("circle, ")
    assert not page.run(PROBLEM)
    log = browser.log()  # the browser itself notes the answer 410
    assert len(log) == 1 and "410" in log[0]


def test_a_model_of_fixed_ways_asks_for_as_many_classes(browser, serve):
    with serve(FakeModel(ways=4)) as server:
        open_page(browser, server)
        assert browser.run("return document.querySelector('#add-class').disabled")
        assert browser.run("return document.querySelectorAll('#classes > li').length") == 4
        assert "exactly 4 classes" in browser.text("#model")
        strokes.teach(browser, examples=1)
        wait_for(browser, "#progress", "One more class")
        browser.draw("#pad", [(0.1, 0.9), (0.9, 0.9)])
        browser.click("#classes > li:nth-child(4) .main")
        wait_for(browser, "#progress", "of 4 classes")


def test_a_server_that_has_gone_is_said(page, browser):
    browser.cut_off(True)
    try:
        page.draw("#pad", *strokes.cross())
        assert "Is bin/demo.py still running?" in page.wait(PROBLEM)
    finally:
        browser.cut_off(False)
    page.log()


def test_a_drawing_survives_a_server_that_fails(page, browser, server, monkeypatch):
    prepare = server.service.prepare
    page.draw("#pad", *strokes.cross())
    page.wait(SEEN)
    fails = []

    def fail_late(data):
        fails.append(time.sleep(0.3))
        raise RuntimeError("out of luck")

    monkeypatch.setattr(server.service, "prepare", fail_late)
    add(page, 1, *strokes.circle())  # before the server has answered
    assert "out of luck" in page.wait(PROBLEM)
    assert page.run(EXAMPLES) == 0, "what was drawn before was added"
    monkeypatch.setattr(server.service, "prepare", prepare)
    add(page, 1, total=1)
    browser.log()  # the browser itself notes the answer 500


def test_the_answer_never_says_that_nothing_was_learned_while_more_is(page, server, monkeypatch):
    strokes.teach(page, examples=1)
    wait_for(page, "#progress", "3 examples")
    adapt = server.service.adapt
    monkeypatch.setattr(server.service, "adapt", lambda **few: time.sleep(2) or adapt(**few))
    watch = """
    window.said = [];
    const answer = document.querySelector("#answer");
    new MutationObserver(() => window.said.push(answer.textContent)).observe(answer, { childList: true });
    """
    page.run(watch)
    page.draw("#pad", *strokes.cross(1))
    page.wait(SEEN)
    page.click("#classes > li:nth-child(2) .main")
    page.draw("#pad", *strokes.circle(1))  # seen while the model still learns
    wait_for(page, "#progress", "4 examples")
    wait_for(page, "#answer", "circle, ")
    assert "Nothing learned yet" not in page.run("return window.said")


def test_on_a_narrow_screen_each_class_has_a_button_under_the_pad(page):
    assert not page.run("return document.querySelector('#shortcuts').offsetParent")
    page.resize(390, 844, mobile=True)
    page.draw("#pad", *strokes.cross())
    page.click("#shortcuts button:nth-child(2)")
    page.wait("return document.querySelector('#classes > li:nth-child(2) .example')")
    page.click("#add-class")
    page.type("#classes > li:nth-child(1) input[type=text]", "x")
    buttons = (
        "return [...document.querySelectorAll('#shortcuts button')].map((one) => one.textContent)"
    )
    assert page.run(buttons) == ["Class 1x", "Class 2", "Class 3", "Class 4"]


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
SMALL = """
return [...document.querySelectorAll("button, label.button, input[type=text], #pad")]
  .filter((one) => one.offsetParent && Math.min(one.offsetWidth, one.offsetHeight) < 40)
  .map((one) => one.id || one.className || one.textContent);
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_and_all_fits_small_screens_and_fingers(page, scheme):
    page.prefer(prefers_color_scheme=scheme)
    strokes.teach(page)
    add(page, 2, *strokes.circle(seed=1))
    page.wait("return document.querySelector('td.wrong')")
    assert page.run(CONTRAST) == []
    for size in [(320, 568), (390, 844), (768, 1024)]:
        page.resize(*size, mobile=True)
        wide = "return [document.documentElement.scrollWidth, innerWidth]"
        assert page.run(wide) == [size[0], size[0]], "it scrolls sideways"
        assert page.run(SMALL) == []


def test_nothing_is_loaded_from_elsewhere(page, server):
    loaded = page.run("return performance.getEntriesByType('resource').map((one) => one.name)")
    assert len(loaded) > 5 and all(address.startswith(server.url) for address in loaded)
    blocked = page.run("return fetch('http://127.0.0.2:9/').then(() => 'loaded', () => 'blocked')")
    assert blocked == "blocked"
    assert any("Content Security Policy" in message for message in page.log())
