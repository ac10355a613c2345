"""The page and the report, from outcomes that were made."""

import re

import pandas as pd
import pytest

from anil_tf.study import page, report
from anil_tf.study.claims import (
    INCONCLUSIVE,
    NOT_RUN,
    NOT_SUPPORTED,
    PAPER,
    REVIEWER,
    SUPPORTED,
    Above,
    Claim,
    Outcome,
)
from anil_tf.study.experiment import Experiment, Picture, Table
from anil_tf.study.page import Section
from anil_tf.study.statistics import Interval

ABOUT = {"command": "python bin/reproduce.py --experiment=all", "commit": "abc", "seconds": 4000}


def section(
    name="first", verdicts=(SUPPORTED,), reasons=("",) * 9, *, said_by=PAPER, order=1, **about
):
    claims = [
        Claim(
            f"k{n}",
            f"Claim {n} of {name}.",
            said_by,
            lambda frame: None,
            f"Rule {n}.",
            Above(0.0),
            "slope",
            "s",
        )
        for n in range(len(verdicts))
    ]
    pictures = [Picture(f"{n}.png", "T", f"Caption {n}. More.", lambda frame: []) for n in range(2)]
    experiment = Experiment(
        f"x.{name}",
        order,
        f"About {name}",
        "A lead.",
        "Why?\n\nHow.",
        lambda *_: [],
        claims,
        pictures,
    )
    outcomes = [
        Outcome(claim, Interval(1.0, 0.5, 1.5, 3), verdict, reason)
        for claim, verdict, reason in zip(claims, verdicts, reasons, strict=False)
    ]
    told = {"scale": "small", "dataset": "fc100", "cell_seconds": 61} | about
    return Section(experiment, outcomes, pictures, told, "_".join([name, *about.values()]))


STORY = [
    section("first", (SUPPORTED, INCONCLUSIVE), ("", "q = 1")),
    section("first", (NOT_SUPPORTED, INCONCLUSIVE), ("", NOT_RUN), scale="long"),
    section("second", (INCONCLUSIVE,), said_by=REVIEWER, order=2),
]


def test_the_page_opens_with_the_papers_claims_in_ten_lines():
    first, blank, *lines = page.render(STORY, ABOUT).splitlines()[:4]
    assert first.startswith("# ") and blank == ""
    assert lines == [
        "- ✗ **not supported**: Claim 0 of first. Slope: 1.00 s (0.50 to 1.50), 3 seeds. [Picture](first_long/0.png)",
        "- ? **inconclusive**, q = 1: Claim 1 of first. Slope: 1.00 s (0.50 to 1.50), 3 seeds. [Picture](first/0.png)",
    ]


def test_every_claim_stands_in_the_first_table_once_with_its_place():
    text = page.render(STORY, ABOUT)
    rows = re.findall(r"^\| (a reviewer|the paper) \| (.*?) \| (.*?) \| (.*?) \|$", text, re.M)
    assert sorted(rows) == [
        ("a reviewer", "Claim 0 of second.", "? **inconclusive**", "[3](#3-second)"),
        ("the paper", "Claim 0 of first.", "✗ **not supported**", "[2](#2-first)"),
        ("the paper", "Claim 1 of first.", "? **inconclusive**, q = 1", "[1](#1-first)"),
    ]
    assert "Of 3 claims: 1 not supported, 2 inconclusive (1 by design)." in text


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_a_claim_counts_once_as_the_longest_scale_that_can_decide_it_found(order):
    found = page.standing([STORY[place] for place in order])
    by_key = {one.claim.key: one for _, one in found}
    assert by_key["k0"].verdict == NOT_SUPPORTED and by_key["k1"].reason == "q = 1"


def test_a_claim_counts_once_on_each_data_set():
    found = page.standing([section(), section(dataset="omniglot")])
    assert [number for number, _ in found] == [0, 1]


def test_links_within_the_page_have_their_targets_and_sections_are_told_apart():
    text = page.render(STORY, ABOUT)
    assert set(re.findall(r"\(#(.*?)\)", text)) <= set(re.findall(r'<a id="(.*?)">', text))
    assert "## 2. About first (at the scale long)\n\nThe same question, at the scale long." in text
    assert "## 1. About first\n\nA lead.\n\nWhy?\n\n![Caption 0.](first/0.png)" in text
    assert "Its other claims were not run at this scale." in text
    assert "(scale long, fc100, 1 min 1 s)" in text


def test_the_page_says_what_seed_0_was_for():
    assert "seeds 0 to 3" in page.render(STORY, ABOUT) and report.SMOKE not in page.render(
        STORY, ABOUT
    )
    smoke = page.render([section(scale="smoke")], ABOUT)
    assert report.SMOKE in smoke and "seeds 0 to 3" not in smoke


def test_no_cell_of_the_page_is_wider_than_a_phone_can_show():
    lines = [line for line in page.render(STORY, ABOUT).splitlines() if line.startswith("|")]
    assert max(len(cell) for line in lines for cell in line.split(" | ")) <= 120


def test_a_report_tells_claim_test_picture_verdict_numbers_and_command_in_this_order():
    one = STORY[0]
    tables = [Table("Every N", pd.DataFrame({"N": [1]}), "A note.")]
    about = one.about | ABOUT | {"versions": {"numpy": "2.0"}, "hardware": {"cores": 2, "gpus": []}}
    text = report.render(one.experiment, one.outcomes, one.pictures, tables, about)
    wanted = [
        "# About first",
        "Of 2 claims: 1 supported, 1 inconclusive (1 by design).",
        "Why?\n\nHow.",
        "![Caption 0.](0.png)\n\nCaption 0. More.",
        "| ✓ **supported** | Claim 0 of first. | 1.00 s (0.50 to 1.50), 3 seeds |",
        "> **Rule.** Rule 0. Student's 95 % interval over seeds: supported if the whole interval lies above 0 s",
        "### Every N\n\nA note.\n\n| N |",
        "```sh\npython bin/reproduce.py --experiment=all\n```",
        "- hardware: cores 2\n",
        "- versions: numpy 2.0",
    ]
    places = [text.index(part) for part in wanted]
    assert places == sorted(places)
    assert "\n\n\n" not in text
