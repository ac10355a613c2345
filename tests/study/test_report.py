import math
import re
import types

import numpy as np
import pandas as pd
import pytest

from anil_tf.study import report
from anil_tf.study.claims import INCONCLUSIVE, NOT_SUPPORTED, SUPPORTED, Picture, Rule, Table
from anil_tf.study.statistics import Interval

RULES = {
    "faster": Rule(
        "Larger N converges faster\nper meta-step.",
        "The slope of the area under the training loss against log N, over seeds: supported below 0.",
        "slope of the loss",
        "nats",
    ),
    "time": Rule(
        "A moderate N is best in time.", "The best of {3, 5, 7} against N = 1 and N = 20."
    ),
}
EXPERIMENT = types.SimpleNamespace(
    name="strongly_convex",
    title="Strongly convex inner loss",
    question="The paper claims it.\n\nFC100, 5-way 5-shot.\n",
    rules=RULES,
)
CLAIMS = [
    RULES["faster"].claimed("strongly_convex", Interval(-0.31, -0.5, -0.12, 3), SUPPORTED),
    RULES["time"].claimed(
        "strongly_convex", Interval(math.nan, -math.inf, math.inf, 3), INCONCLUSIVE
    ),
]
PICTURES = [Picture("loss.png", "Training loss `L`. The band\nis the range of the seeds.")]
TABLES = [
    Table(
        "Loss at the end",
        pd.DataFrame({"N": [1, 20], "loss (nats)": [1.23456, 0.98765], "diverged": [False, True]}),
        "After 300 meta-steps.",
    )
]
ABOUT = {
    "command": "python bin/reproduce.py --experiment=strongly_convex --scale=small",
    "scale": "small",
    "seconds": 1325.2,
    "versions": {"tensorflow": "2.21.0", "keras": "3.15"},
    "hardware": "2 cores",
    "remark": None,
}


def rendered(**changes):
    given = {"claims": CLAIMS, "pictures": PICTURES, "tables": TABLES, "about": ABOUT, **changes}
    return report.render(EXPERIMENT, *given.values())


# ---- The whole -------------------------------------------------------------------------------------------------------


def test_a_report_tells_claim_test_picture_verdict_numbers_and_command_in_this_order():
    text = rendered()
    place = 0
    for part in (
        "# Strongly convex inner loss",
        "Of 2 claims: 1 supported and 1 inconclusive.",
        "FC100, 5-way 5-shot.",
        "![Training loss L.](loss.png)",
        "**Figure 1.** Training loss `L`. The band is the range of the seeds.",
        "| slope of the loss ",
        "| ✓ **supported** | Larger N converges faster per meta-step. | -0.31 nats (-0.50 to -0.12), 3 seeds |",
        "> **Rule.** The slope of the area",
        "| ? **inconclusive** | A moderate N is best in time. | could not be measured |",
        "> **Rule.** The best of",
        "### Loss at the end",
        "After 300 meta-steps.",
        ABOUT["command"],
        "- time: 22 min 5 s",
        "- versions: tensorflow 2.21.0, keras 3.15",
        "[results.csv](results.csv)",
    ):
        place = text.index(part, place) + len(part)
    assert "remark" not in text and "nan" not in text
    assert text.endswith(".\n") and "\n\n\n" not in text


def test_a_report_needs_neither_pictures_nor_tables_nor_claims():
    text = rendered(claims=[], pictures=[], tables=[], about={})
    assert "No claim was decided." in text
    assert "![" not in text and "## The numbers" not in text
    assert "## What was measured" in rendered() and "## What was measured" not in text


def test_a_fact_that_is_empty_goes_with_its_name():
    text = rendered(about={"hardware": {"cpu": "x86", "cores": 2, "accelerators": []}})
    assert "- hardware: cpu x86, cores 2\n" in text


def test_the_smallest_scale_is_called_no_evidence():
    assert report.SMOKE in rendered(about={"scale": "smoke"}) and report.SMOKE not in rendered()


def test_a_report_is_written_whole(tmp_path):
    report.write(tmp_path / "report.md", EXPERIMENT, CLAIMS, PICTURES, TABLES, ABOUT)
    assert (tmp_path / "report.md").read_text(encoding="utf-8") == rendered()


# ---- Claims ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdicts", "sentence"),
    [
        ([SUPPORTED], "Of 1 claim: 1 supported."),
        ([NOT_SUPPORTED, SUPPORTED], "Of 2 claims: 1 supported and 1 not supported."),
        (
            [INCONCLUSIVE, NOT_SUPPORTED, SUPPORTED, SUPPORTED],
            "Of 4 claims: 2 supported, 1 not supported and 1 inconclusive.",
        ),
    ],
)
def test_verdicts_are_counted(verdicts, sentence):
    interval = Interval(0.0, -1.0, 1.0, 3)
    assert report.in_short([RULES["time"].claimed("x", interval, v) for v in verdicts]) == sentence


@pytest.mark.parametrize(
    ("reasons", "end"),
    [
        (["", "q = 1", ""], "3 inconclusive, 1 of them by design."),
        (["q = 1", "q = 1"], "2 inconclusive, by design."),
    ],
)
def test_what_is_inconclusive_by_design_is_told_and_counted(reasons, end):
    interval = Interval(0.0, -1.0, 1.0, 3)
    claims = [RULES["time"].claimed("x", interval, INCONCLUSIVE, why) for why in reasons]
    assert report.in_short(claims) == f"Of {len(reasons)} claims: {end}"
    shown = rendered(claims=claims).count("| ? **inconclusive**, by design: q = 1 |")
    assert shown == sum(map(bool, reasons))


def test_a_claim_whose_rule_changed_keeps_the_rule_that_decided_it():
    claim = Rule("An older claim.", "An older rule.", "slope").claimed(
        "strongly_convex", Interval(1.0, 0.5, 1.5, 5), SUPPORTED
    )
    text = rendered(claims=[claim])
    assert "> **Rule.** An older rule." in text
    assert "| An older claim. | 1.00 (0.50 to 1.50), 5 seeds |" in text


def test_claims_that_one_rule_decides_stand_together():
    rules = {n: Rule(f"Claim {n}.", f"Rule {n % 2}.") for n in range(4)}
    claims = [rule.claimed("x", Interval(1.0, 0.5, 1.5, 3), SUPPORTED) for rule in rules.values()]
    lines = rendered(claims=claims).split("## The verdicts")[1].splitlines()
    found = [re.search("Claim .|Rule .", line) for line in lines]
    assert [match[0] for match in found if match] == [
        "Claim 0",
        "Claim 2",
        "Rule 0",
        "Claim 1",
        "Claim 3",
        "Rule 1",
    ]


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
        ((0.0, -0.011, 0.011), "", "0.000 (-0.011 to 0.011)"),
        ((5e-17, -0.5, 0.5), "", "0.00 (-0.50 to 0.50)"),
        ((math.nan, -math.inf, math.inf), "s", "-"),
    ],
)
def test_a_number_has_the_digits_of_its_interval(interval, unit, text):
    assert report.with_interval(Interval(*interval, 3), unit) == text


# ---- Tables ----------------------------------------------------------------------------------------------------------


def cells(table):
    lines = [line.strip("| ").split("|") for line in table.splitlines()]
    return [[cell.strip() for cell in line] for line in lines]


def test_columns_are_aligned_in_the_source():
    frame = pd.DataFrame({"N": [1, 20], "setting": ["1/L", "mu/L^2, long"]})
    table = report.frame_table(frame)
    assert len({len(line) for line in table.splitlines()}) == 1
    assert table.splitlines()[1].split("|")[1:3] == [" --: ", " :----------- "]
    assert cells(table)[2:] == [["1", "1/L"], ["20", "mu/L^2, long"]]


def test_cells_are_written_by_what_they_are():
    frame = pd.DataFrame(
        {
            "loss": [1.234567, 0.0312345, math.nan, math.inf],
            "alpha": [0.1, 0.05, 0.5, 1.0],
            "done": np.array([True, False, True, True]),
            "verdict": [SUPPORTED, NOT_SUPPORTED, INCONCLUSIVE, None],
            "slope": [Interval(1.0, 0.9, 1.1, 3)] * 4,
            "images": [10, 2500, 3, 1],
            "note": ["a|b", "two\nlines", "", "x"],
        }
    )
    header, _, *rows = cells(report.frame_table(frame).replace("\\|", "/"))
    assert header == list(frame.columns)
    assert [row[0] for row in rows] == ["1.235", "0.031", "-", "infinity"]
    assert [row[1] for row in rows] == ["0.1", "0.05", "0.5", "1"]
    assert [row[2] for row in rows] == ["yes", "no", "yes", "yes"]
    assert rows[0][3] == "✓ **supported**" and rows[3][3] == "-"
    assert rows[0][4] == "1.00 (0.90 to 1.10)"
    assert [row[5] for row in rows] == ["10", "2500", "3", "1"]
    assert [row[6] for row in rows[:2]] == ["a/b", "two lines"]


def test_a_number_far_below_its_column_is_not_rounded_away():
    frame = pd.DataFrame({"bound": [0.1234567, 0.7654321, 2.345678e-9]})
    assert [row[0] for row in cells(report.frame_table(frame))[2:]] == ["0.123", "0.765", "2.3e-09"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.6, "1 min 0 s"), (125, "2 min 5 s"), (3600 + 179, "1 h 2 min")],
)
def test_durations_are_said_as_people_say_them(seconds, text):
    assert report.duration(seconds) == text


def test_alternative_text_has_no_markdown():
    shown = report.figure(Picture("a.png", "The *loss* of `N` [steps]. More."), 2, "predictions")
    assert shown.startswith(
        "![The loss of N steps.](predictions/a.png)\n\n**Figure 2.** The *loss*"
    )
    assert re.search(r"More\.$", shown)
