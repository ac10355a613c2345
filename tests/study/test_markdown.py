"""How verdicts, numbers, tables and pictures are written."""

import math
import re

import numpy as np
import pandas as pd
import pytest

from anil_tf.study import markdown
from anil_tf.study.claims import INCONCLUSIVE, NOT_SUPPORTED, SUPPORTED, Above, Claim, Outcome
from anil_tf.study.experiment import Picture
from anil_tf.study.statistics import Interval


def outcome(verdict=SUPPORTED, reason="", **changes):
    claim = {
        "key": "large",
        "text": "Values are large.",
        "said_by": "a reviewer",
        "statistic": lambda frame: None,
        "words": "The mean on each seed.",
        "test": Above(5.0),
        "number": "mean",
        "unit": "s",
    }
    return Outcome(Claim(**(claim | changes)), Interval(7.0, 6.0, 8.0, 3), verdict, reason)


def cells(table):
    lines = [line.strip("| ").split(" |") for line in table.replace("\\|", "/").splitlines()]
    return [[cell.strip() for cell in line] for line in lines]


def test_verdicts_are_counted_and_those_open_by_design_told_apart():
    found = [outcome(), outcome(INCONCLUSIVE), outcome(INCONCLUSIVE, "q^20 = 0.97")]
    assert markdown.in_short(found) == "Of 3 claims: 1 supported, 2 inconclusive (1 by design)."
    assert markdown.in_short(found[:1]) == "Of 1 claim: 1 supported."
    assert markdown.verdict_on(found) == "✓ **supported** (1 of 2), ? **inconclusive** (1 of 2)"
    assert markdown.verdict_on(found[:1]) == "✓ **supported**"
    assert markdown.verdict_on(found[2:]) == "? **inconclusive**, q^20 = 0.97"


def test_a_name_that_all_numbers_have_stands_in_the_header():
    found = [outcome(condition="B = 1"), outcome(NOT_SUPPORTED, condition="B = 2")]
    header, _, first, second = cells(markdown.claims_table(found))
    assert header == ["verdict", "claim", "mean"]
    assert first == ["✓ **supported**", "Values are large (B = 1).", "7.0 s (6.0 to 8.0), 3 seeds"]
    assert second[0] == "✗ **not supported**"
    header, _, first, _ = cells(markdown.claims_table([outcome(), outcome(number="median")]))
    assert header[2] == "measured" and first[2].startswith("mean: 7.0 s")


@pytest.mark.parametrize(
    ("interval", "unit", "text"),
    [
        ((-0.31234, -0.50123, -0.12345), "nats", "-0.31 nats (-0.50 to -0.12)"),
        ((1.7412, 1.7402, 1.7422), "s", "1.7412 s (1.7402 to 1.7422)"),
        ((1325.3, 1200.0, 1450.6), "s", "1325 s (1200 to 1451)"),
        ((2.0, -math.inf, math.inf), "", "2 (no interval)"),
        ((2.5, 1.5, math.inf), "", "2.5 (1.5 to infinity)"),
        ((3.0, 3.0, 3.0), "%", "3 %"),
        ((2e-7, 1e-7, 3e-7), "", "2.00e-07 (1.00e-07 to 3.00e-07)"),
        ((5e-17, -0.5, 0.5), "", "0.00 (-0.50 to 0.50)"),
        ((math.nan, -math.inf, math.inf), "s", "-"),
    ],
)
def test_a_number_has_the_digits_of_its_interval(interval, unit, text):
    assert markdown.with_interval(Interval(*interval, 3), unit) == text


def test_cells_are_written_by_what_they_are():
    frame = pd.DataFrame(
        {
            "loss": [1.234567, 0.0312345, math.nan, math.inf],
            "time": [1234.56, 0.5, 2.0, 1e-9],
            "done": np.array([True, False, True, True]),
            "slope": [Interval(1.0, 0.9, 1.1, 3)] * 4,
            "images": [10, 2500, 3, 1],
            "note": ["a|b", "two\nlines", "c", None],
        }
    )
    header, sides, *rows = cells(markdown.frame_table(frame))
    assert header == list(frame.columns)
    assert sides == ["--:", "--:", "--:", ":--", "--:", ":--"]
    columns = list(zip(*rows, strict=True))
    assert columns[0] == ("1.23", "0.0312", "-", "inf")
    assert columns[1] == ("1235", "0.5", "2", "1e-09")
    assert columns[2] == ("yes", "no", "yes", "yes")
    assert columns[3][0] == "1.00 (0.90 to 1.10)"
    assert columns[4] == ("10", "2500", "3", "1")
    assert columns[5] == ("a/b", "two lines", "c", "-")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.6, "1 min 0 s"), (125, "2 min 5 s"), (3600 + 179, "1 h 2 min")],
)
def test_durations_are_said_as_people_say_them(seconds, text):
    assert markdown.duration(seconds) == text


def test_a_picture_is_spoken_without_markdown():
    picture = Picture("a.png", "A", "The *loss* of `N` [steps]. More.", lambda frame: [])
    shown = markdown.figure(picture, "predictions")
    assert shown.startswith("![The loss of N steps.](predictions/a.png)\n\nThe *loss*")
    assert re.search(r"More\.$", shown)
    assert markdown.figure(picture, whole=False).endswith("The *loss* of `N` [steps].")
