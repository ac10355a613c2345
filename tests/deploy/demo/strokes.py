"""Three simple characters, each drawn in its own way every time, for the pad of a browser."""

import math


def circle(seed=0):
    radius, middle = 0.26 + 0.03 * (seed % 3), 0.5 + 0.03 * (seed % 2)
    turns = [2 * math.pi * step / 16 for step in range(17)]
    return [[(middle + radius * math.sin(turn), 0.5 - radius * math.cos(turn)) for turn in turns]]


def cross(seed=0):
    shift = 0.04 * (seed % 3)
    return [[(0.2 + shift, 0.22), (0.8, 0.8 - shift)], [(0.78, 0.2 + shift), (0.22 + shift, 0.8)]]


def gamma(seed=0):
    shift = 0.03 * (seed % 3)
    return [[(0.32 + shift, 0.82), (0.3, 0.5), (0.3, 0.2 + shift), (0.7 - shift, 0.2)]]


def arc(seed=0):
    return [stroke[1 + seed % 2 : -2] for stroke in circle(seed)]


CHARACTERS = {"circle": circle, "cross": cross, "gamma": gamma}


def teach(browser, examples=2, characters=CHARACTERS):
    """Names the classes of the page after characters and draws examples of each."""
    for place, (name, character) in enumerate(characters.items(), start=1):
        card = f"#classes > li:nth-child({place})"
        browser.clear(f"{card} input[type=text]")
        browser.type(f"{card} input[type=text]", name)
        for seed in range(examples):
            browser.draw("#pad", *character(seed))
            browser.click(f"{card} .main")
            count = "return document.querySelectorAll(arguments[0]).length === arguments[1]"
            browser.wait(count, f"{card} .example", seed + 1)


def answer(browser, *strokes):
    """Draws and returns the answer, such as "circle, 97.1 %"."""
    browser.click("#clear")
    browser.wait("return !document.querySelector('#answer').textContent.includes('%')")
    browser.draw("#pad", *strokes)
    return browser.wait(
        "const said = document.querySelector('#answer').textContent; return said.includes('%') && said"
    )
