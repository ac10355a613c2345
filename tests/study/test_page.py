import dataclasses
import re

from anil_tf.study import experiments, page, report
from anil_tf.study.headlines import HEADLINES
from anil_tf.study.scale import SCALES
from anil_tf.theory import bounds
from tests.study.sections import ABOUT, PER_STEP, STORY, rows_of, section


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


def test_every_headline_is_in_the_first_table_before_all_else():
    text = page.render(STORY, ABOUT)
    rows = rows_of(text, "What became of each claim")
    assert [row[1] for row in rows] == [one.text for one in HEADLINES]
    assert re.search("^## .*$", text, re.MULTILINE)[0] == "## What became of each claim"


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


def test_a_section_ends_with_how_large_its_runs_are():
    one = section()
    about = {**one.about, "meta_steps": "20 to 133", "tasks_in_a_meta_step": "2"}
    text = page.render([dataclasses.replace(one, about=about)], ABOUT)
    assert "(scale small, fc100, 20 to 133 meta-steps, B = 2, 1 min 1 s)" in text


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
