import re
import types

from anil_tf.study import experiments, page, report
from anil_tf.study.claims import INCONCLUSIVE, NOT_SUPPORTED, SUPPORTED, Picture, Rule
from anil_tf.study.statistics import Interval
from anil_tf.theory import bounds


def section(name="strongly_convex", verdicts=(SUPPORTED,), folder=None, pictures=2, scale="small"):
    rules = {
        str(n): Rule(f"Claim {n} of {name}.", f"Rule {n}.", f"number {n}", "s")
        for n in range(len(verdicts))
    }
    experiment = types.SimpleNamespace(
        name=name, title=f"About {name}", question=f"Why {name}?\nYes.\n\nHow.", rules=rules
    )
    claims = [
        rule.claimed(name, Interval(1.0, 0.5, 1.5, 3), verdict)
        for rule, verdict in zip(rules.values(), verdicts, strict=True)
    ]
    shown = [Picture(f"{n}.png", f"Caption {n}. More.") for n in range(pictures)]
    about = {"scale": scale, "dataset": "fc100", "cell_seconds": 61}
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
        "How to read it",
        "1. About strongly_convex",
        "2. About anil_vs_maml",
        "3. About strongly_convex (long scale)",
        "What the paper is believed to state",
        "Repeat it",
    ]
    assert "Of 4 claims: 2 supported, 1 not supported and 1 inconclusive." in text
    assert text.endswith("\n") and "\n\n\n" not in text


def test_the_first_table_counts_the_verdicts_of_each_experiment_and_says_who_asked():
    overview = page.render(STORY, ABOUT).split("## How to read it")[0]
    table = [line for line in overview.splitlines() if line.startswith("| ")][2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    assert [row[1] for row in rows] == [
        "About strongly_convex",
        "About anil_vs_maml",
        "About strongly_convex (long scale)",
    ]
    assert rows[0][2] == "the paper" and "a reviewer" in rows[1][2]
    assert [row[3:] for row in rows] == [["1", "", "1"], ["", "1", ""], ["1", "", ""]]


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
