"""Sections of a page, made without any experiment, and its tables as cells."""

import types

from anil_tf.study import page
from anil_tf.study.claims import INCONCLUSIVE, NOT_SUPPORTED, SUPPORTED, Picture, Rule
from anil_tf.study.section import Section
from anil_tf.study.statistics import Interval

DESIGN = ("q^20 = 0.97",)


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
    return Section(experiment, claims, shown, about, folder or name)


STORY = [
    section("strongly_convex", (SUPPORTED, INCONCLUSIVE)),
    section("anil_vs_maml", (NOT_SUPPORTED,)),
    section(
        "strongly_convex", (SUPPORTED,), folder="longer/strongly_convex", pictures=1, scale="long"
    ),
]
ABOUT = {"command": "python bin/reproduce.py --experiment=all", "commit": "abc", "seconds": 4000}


PER_STEP = [
    section(
        verdicts=(INCONCLUSIVE, INCONCLUSIVE, NOT_SUPPORTED),
        reasons=(*DESIGN, "", ""),
        key="per_step: lambda = {}",
    )
]


def rows_of(text, heading):
    """The cells of the first table below a heading, its header left out."""
    part = text.split(f"## {heading}\n")[1].split("\n## ")[0]
    table = [line for line in part.splitlines() if line.startswith("| ")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def headline(sections, beginning):
    """The row of the first table whose words begin like this."""
    rows = rows_of(page.render(sections, ABOUT), "What became of each claim")
    (row,) = [row for row in rows if row[1].startswith(beginning)]
    return row
