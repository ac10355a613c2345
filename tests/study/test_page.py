import dataclasses
import re
import types

import pytest

from anil_tf.study import experiments, page, report
from anil_tf.study.claims import INCONCLUSIVE, NOT_SUPPORTED, SUPPORTED, Picture, Rule
from anil_tf.study.headlines import HEADLINES
from anil_tf.study.scale import SCALES
from anil_tf.study.statistics import Interval
from anil_tf.theory import bounds


def section(
    name="strongly_convex",
    verdicts=(SUPPORTED,),
    folder=None,
    pictures=2,
    scale="small",
    reasons=("",) * 9,
    key="{}",
    dataset="fc100",
):
    rules = {
        key.format(n): Rule(f"Claim {n} of {name}.", f"Rule {n}.", f"number {n}", "s")
        for n in range(len(verdicts))
    }
    experiment = types.SimpleNamespace(
        name=name, title=f"About {name}", question=f"Why {name}?\nYes.\n\nHow.", rules=rules
    )
    claims = [
        rule.claimed(name, Interval(1.0, 0.5, 1.5, 3), verdict, reason)
        for rule, verdict, reason in zip(rules.values(), verdicts, reasons, strict=False)
    ]
    shown = [Picture(f"{n}.png", f"Caption {n}. More.") for n in range(pictures)]
    about = {"scale": scale, "dataset": dataset, "cell_seconds": 61}
    return page.Section(experiment, claims, shown, about, folder or name)


STORY = [
    section("strongly_convex", (SUPPORTED, INCONCLUSIVE)),
    section("anil_vs_maml", (NOT_SUPPORTED,)),
    section(
        "strongly_convex", (SUPPORTED,), folder="longer/strongly_convex", pictures=1, scale="long"
    ),
]
ABOUT = {"command": "python bin/reproduce.py --experiment=all", "commit": "abc", "seconds": 4000}


def test_the_page_tells_the_story_in_order():
    text = page.render(STORY, ABOUT)
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == [
        "What became of each claim",
        "The experiments",
        "How to read it",
        "1. About strongly_convex",
        "2. About anil_vs_maml",
        "3. About strongly_convex (at the scale long)",
        "What the paper is believed to state",
        "Repeat it",
    ]
    assert "Of 3 claims: 1 supported, 1 not supported and 1 inconclusive." in text
    assert text.endswith("\n") and "\n\n\n" not in text


def rows_of(text, heading):
    """The cells of the first table below a heading, its header left out."""
    part = text.split(f"## {heading}\n")[1].split("\n## ")[0]
    table = [line for line in part.splitlines() if line.startswith("| ")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


DESIGN = ("q^20 = 0.97",)
PER_STEP = [
    section(
        verdicts=(INCONCLUSIVE, INCONCLUSIVE, NOT_SUPPORTED),
        reasons=(*DESIGN, "", ""),
        key="per_step: lambda = {}",
    )
]


def headline(sections, beginning):
    """The row of the first table whose words begin like this."""
    rows = rows_of(page.render(sections, ABOUT), "What became of each claim")
    (row,) = [row for row in rows if row[1].startswith(beginning)]
    return row


def test_a_headline_says_who_said_it_and_tells_each_condition_with_its_number_and_its_place():
    assert headline(PER_STEP, "Strongly convex inner loss: a larger N") == [
        "the paper",
        "Strongly convex inner loss: a larger N converges faster per meta-step.",
        "✗ **not supported** (1 of 2)<br>? **inconclusive** (1 of 2)",
        "✗ lambda = 2: number 2: 1.00 s (0.50 to 1.50), 3 seeds<br>"
        "? lambda = 1: number 1: 1.00 s (0.50 to 1.50), 3 seeds<br>? 1 more, by design",
        "[1](#1-strongly-convex)",
    ]
    assert headline(PER_STEP, "Nonconvex inner loss: a larger N")[2:] == ["not measured", "", ""]


def test_conditions_that_agree_have_one_verdict_and_a_name_that_all_numbers_share_stands_once():
    agreeing = section(verdicts=(SUPPORTED,) * 2, key="per_step: lambda = {}")
    for rule in (rules := agreeing.experiment.rules):
        rules[rule] = dataclasses.replace(rules[rule], statistic="slope")
    row = headline([agreeing], "Strongly convex inner loss: a larger N")
    assert row[2] == "✓ **supported**"
    number = "1.00 s (0.50 to 1.50), 3 seeds"
    assert row[3] == f"*slope*<br>✓ lambda = 0: {number}<br>✓ lambda = 1: {number}"


def test_a_headline_that_is_all_undecided_by_design_says_so():
    every = section(verdicts=(INCONCLUSIVE,) * 2, reasons=DESIGN * 2, key="per_step: lambda = {}")
    row = headline([every], "Strongly convex inner loss: a larger N")
    assert row[2:4] == ["? **inconclusive**, by design", "? 2 conditions, by design"]
    one = section("nonconvex", (INCONCLUSIVE,), reasons=DESIGN, key="cure")
    row = headline([one], "Nonconvex inner loss: an inner step size")
    assert row[2:4] == ["? **inconclusive**, by design: q^20 = 0.97", ""]


def test_every_headline_is_in_the_first_table_before_all_else():
    text = page.render(STORY, ABOUT)
    rows = rows_of(text, "What became of each claim")
    assert [row[1] for row in rows] == [one.text for one in HEADLINES]
    assert re.search("^## .*$", text, re.MULTILINE)[0] == "## What became of each claim"


def test_what_a_scale_does_not_run_neither_counts_nor_is_told():
    small = section(verdicts=(INCONCLUSIVE, SUPPORTED), reasons=(*DESIGN, ""))
    long = section(verdicts=(INCONCLUSIVE, INCONCLUSIVE), reasons=("not run", ""), scale="long")
    found = {claim.claim: (at, claim.reason) for at, claim in page.standing([small, long])}
    assert found == {
        "Claim 0 of strongly_convex.": (0, DESIGN[0]),
        "Claim 1 of strongly_convex.": (1, ""),
    }
    first, again = page.render([small, long], ABOUT).split("## 2. ")
    assert "Claim 0" in first and "Claim 0" not in again and "Claim 1" in again
    assert "were not run" in again and "were not run" not in first


def test_a_claim_counts_once_on_each_data_set_which_is_then_named():
    one = section("advice", (SUPPORTED,), key="as_good")
    other = section("advice", (INCONCLUSIVE,), key="as_good", dataset="omniglot", folder="other")
    text = page.render([one, other], ABOUT)
    row = headline([one, other], "An inner loop that is measured")

    assert row[2] == "✓ **supported** (1 of 2)<br>? **inconclusive** (1 of 2)"
    number = "1.00 s (0.50 to 1.50), 3 seeds"
    assert row[3] == f"*number 0*<br>✓ fc100: {number}<br>? omniglot: {number}"
    assert row[4] == "[1](#1-advice), [2](#2-advice)"
    assert "## 2. About advice (on omniglot)\n\nThe same question, on omniglot." in text
    assert headline([one], "An inner loop that is measured")[3] == f"number 0: {number}"


@pytest.mark.parametrize("order", [1, -1])
def test_a_claim_counts_once_as_the_longest_scale_that_can_decide_it_found(order):
    small = section(verdicts=(SUPPORTED, SUPPORTED, INCONCLUSIVE, SUPPORTED), reasons=("",) * 4)
    long = section(
        verdicts=(NOT_SUPPORTED, INCONCLUSIVE, INCONCLUSIVE),
        reasons=("", *DESIGN * 2),
        scale="long",
    )
    shown = [small, long][::order]
    found = {
        claim.claim: (shown[at].about["scale"], claim.verdict) for at, claim in page.standing(shown)
    }
    assert len(page.standing(shown)) == len(found) == 4
    assert list(dict(sorted(found.items())).values()) == [
        ("long", NOT_SUPPORTED),
        ("small", SUPPORTED),
        ("small", INCONCLUSIVE),
        ("small", SUPPORTED),
    ]
    text = page.render(shown, ABOUT)
    assert "Of 4 claims: 2 supported, 1 not supported and 1 inconclusive." in text
    assert "counts once" in text and "counts once" not in page.render([small], ABOUT)


def test_the_reason_stands_beside_the_verdict_and_is_counted():
    text = page.render(PER_STEP, ABOUT)
    assert "| ? **inconclusive**, by design: q^20 = 0.97 | Claim 0" in text
    assert "Of 3 claims: 1 not supported and 2 inconclusive, 1 of them by design." in text
    assert rows_of(text, "The experiments")[0][3:] == ["", "1", "2 (1 by design)"]


def test_the_page_says_what_seed_0_was_for():
    small, smoke = section(), section("nonconvex", scale="smoke")
    assert 0 in SCALES["smoke"].seeds
    assert not any(0 in one.seeds for one in SCALES.values() if one.name != "smoke")
    assert "not among the seeds" in page.render([small], ABOUT)
    text = page.render([smoke], ABOUT)
    assert report.SMOKE in text and "not among the seeds" not in text


def test_the_overview_counts_the_verdicts_of_each_experiment_and_says_who_asked():
    rows = rows_of(page.render(STORY, ABOUT), "The experiments")
    assert [row[1] for row in rows] == [
        "About strongly_convex",
        "About anil_vs_maml",
        "About strongly_convex (at the scale long)",
    ]
    assert rows[0][2] == "the paper" and "a reviewer" in rows[1][2]
    assert [row[3:] for row in rows] == [["", "", "1"], ["", "1", ""], ["1", "", ""]]


def test_every_claim_is_in_its_section_with_its_verdict():
    sections = re.split("^## [0-9]. ", page.render(STORY, ABOUT), flags=re.MULTILINE)[1:]
    for one, text in zip(STORY, sections, strict=True):
        for claim in one.claims:
            row = next(line for line in text.splitlines() if claim.claim in line)
            assert report.marked(claim.verdict) in row


def test_every_link_within_the_page_has_its_target():
    text = page.render(STORY, ABOUT)
    targets = set(re.findall(r'<a id="([^"]+)">', text))
    links = set(re.findall(r"\(#([^)]+)\)", text))
    assert links == targets and len(targets) == 3


def test_a_section_shows_the_first_picture_the_numbers_and_the_files():
    text = page.render(STORY, ABOUT)
    first = text.split("## 1. ")[1].split("## 2. ")[0]
    assert "Why strongly_convex?\nYes." in first and "How." not in first
    assert "![Caption 0.](strongly_convex/0.png)" in first and "1.png" not in first
    assert re.search(r"\| number 0 +\|\n.*\n.*\| 1.00 s \(0.50 to 1.50\), 3 seeds \|", first)
    for file in ("report.md", "results.csv", "claims.json"):
        assert f"(strongly_convex/{file})" in first
        assert f"(longer/strongly_convex/{file})" in text
    assert "and 1 more picture." in first and "scale small, fc100, 1 min 1 s" in first


def test_predictions_show_all_their_pictures_and_what_they_announce():
    one = section("predictions", pictures=3)
    one.experiment.question = "Ten predictions:\n\n- P1\n- P2\n\nMore."
    text = page.render([one], ABOUT)
    assert "Ten predictions:\n\n- P1\n- P2\n\n|" in text
    assert "More." not in text
    for n in range(3):
        assert f"![Caption {n}.](predictions/{n}.png)<br>Caption {n}. " in text
    assert "more picture" not in text


def test_every_experiment_of_the_study_has_its_sentence():
    assert list(page._LEADS) == list(experiments.EXPERIMENTS)


def test_the_reading_says_what_derived_and_attributed_mean():
    text = page.render(STORY, ABOUT)
    assert "*derived*" in text and "*attributed*" in text and "never a quotation" in text
    table = text.split("## What the paper is believed to state")[1].replace("\\|", "|")
    assert "attributed, not quoted" in table
    for one in bounds.ATTRIBUTED:
        row = next(line for line in table.splitlines() if f"| {one.quantity} " in line)
        assert f"`{one.strongly_convex}`" in row and f"`{one.nonconvex}`" in row
        assert one.confidence in row


def test_the_page_is_written_whole(tmp_path):
    page.write(tmp_path / "README.md", STORY, ABOUT)
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == page.render(STORY, ABOUT)
    assert report.duration(4000) in page.render(STORY, ABOUT)
