"""README.md of the whole study: what became of the paper's claims, then of every claim, then the experiments in order.

A section is one experiment as it was run once. An experiment may have several, at several scales or on several data
sets; a claim then counts once on each data set, see `standing`.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from anil_tf.study import markdown, report
from anil_tf.study.claims import (
    INCONCLUSIVE,
    MARKS,
    NOT_RUN,
    NOT_SUPPORTED,
    PAPER,
    SUPPORTED,
    Outcome,
)
from anil_tf.study.experiment import Experiment, Picture
from anil_tf.study.scale import SCALES
from anil_tf.theory import bounds

_INTRODUCTION = """\
ANIL adapts the last layers of a network to a task, the head, and shares the rest, the body. Ji, Lee, Liang and Poor
(*Convergence of Meta-Learning with Task-Specific Adaptation over Partial Parameters*, NeurIPS 2020,
[arXiv:2006.09486](https://arxiv.org/abs/2006.09486)) prove how fast its training converges, and how the number N of
inner steps enters. Their finding: it depends on the geometry of the inner loss. Where that is strongly convex, more
inner steps speed training up; where it is not convex, they slow it down.

This page measures that. Each claim was written down, with a rule that decides it, before anything ran. The rule then
said *supported*, *not supported* or *inconclusive*, and what it said stands here."""

_TELLING = (
    "A row for each claim. Where it was judged under several conditions, or on several data, the number of verdicts "
    "stands in parentheses; the sections have the conditions and the numbers. A claim that was judged at several "
    "scales counts once: at the longest whose design can decide it."
)
_NOT_RUN = "Its other claims were not run at this scale."

_READING = f"""\
- {MARKS[SUPPORTED]} **supported**: the whole interval lies where the claim wants it.
  {MARKS[NOT_SUPPORTED]} **not supported**: the whole interval speaks against the claim.
  {MARKS[INCONCLUSIVE]} **inconclusive**: the interval cannot tell; or, *by design*, no interval could have, for the
  reason that stands beside it. That is no verdict on the claim.
- Intervals are Student's t at 95 % over seeds, and settings are compared within a seed. A seed fixes the initial
  weights and the draw of the tasks: settings that differ in alpha, lambda, N or in what is adapted see the same tasks
  in the same order. Those that differ in shots, in queries or in B share the weights, and need not see the same tasks.
  With few seeds intervals are wide, and that is their honest width. Nothing is corrected for the number of claims.
- A bound marked *derived* was proved and checked here, with explicit constants. A formula marked *attributed* is
  believed to be the paper's, whose text was not at hand to check: it is never a quotation. So is the set-up of its
  experiments. What its abstract says was at hand; that a moderate N is best if the inner loss is strongly convex is
  what a third-party summary makes of it.
- The theory assumes losses that are smooth, with bounds on their gradients and curvatures that hold everywhere. ReLU,
  max pooling and batch normalisation, which the usual body has, are not smooth or mix the images. A smooth body, tanh
  without batch statistics, is used where that matters, and the report says so. Its loss is smooth; its gradients are
  bounded on bounded sets of weights only.
- alpha is the inner step size, N the number of inner steps, lambda the weight of the l2 term; L and mu are the largest
  and the smallest curvature of the inner loss in the head, q = 1 - alpha mu; B tasks make a meta-step, of which there
  are K. How large B and K are stands at the end of each section: they differ with the scale."""

_TRIALS = "- Settings were tried out on the seeds 0 to 3, which are not among the seeds."

_ATTRIBUTED_READING = """\
These formulas are recalled, with the confidence that the last column gives; the paper's text was not at hand to check
them. Nothing on this page is computed from them: bounds in the pictures are derived here, with constants. xi =
mu^2/L^2; "poly" and c, c_k, c_b, c_eps are constants that are not spelled out; n_w and n_phi are the entries of head
and body, eps the accuracy of the squared gradient."""


@dataclasses.dataclass(frozen=True)
class Section:
    """What the page needs of one experiment.

    Attributes:
        experiment: what was asked.
        outcomes: its claims as they were decided.
        pictures: those that were drawn into its folder.
        about: how it was run, see `report.render`.
        folder: seen from the page, without a slash at its end; it holds report.md, results.csv and claims.json.
    """

    experiment: Experiment
    outcomes: Sequence[Outcome]
    pictures: Sequence[Picture]
    about: Mapping[str, Any]
    folder: str


Standing = list[tuple[int, Outcome]]


def render(sections: Sequence[Section], about: Mapping[str, Any]) -> str:
    """The text of the page.

    Args:
        sections: in the order of the story.
        about: how all of it was run, see `report.render`; `command` repeats it.

    Returns:
        Markdown.
    """
    found = standing(sections)
    smoke = [report.is_smoke(section.about) for section in sections]
    parts = [
        "# The convergence of ANIL, measured: what became of the paper's claims",
        _paper(sections, found),
        _INTRODUCTION,
        "## Every claim",
        _TELLING,
        _first_table(sections, found),
        markdown.in_short([one for _, one in found]),
        "## How to read it",
        _READING
        + (f"\n- {report.SMOKE}" if any(smoke) else "")
        + ("" if all(smoke) else f"\n{_TRIALS}"),
        *(part for number in range(len(sections)) for part in _section(number, sections)),
        "## What the paper is believed to state",
        _ATTRIBUTED_READING,
        _attributed(),
        "## Repeat it",
        f"```sh\n{about['command']}\n```" if "command" in about else "",
        report.facts(about),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def standing(sections: Sequence[Section]) -> Standing:
    """Each claim once on each data set: as the longest scale decided it, of those whose design can.

    Args:
        sections: of the page.

    Returns:
        Outcomes, each with the number of the section that it stands in, in the order of the experiments' claims.
    """
    found: dict[tuple[Any, ...], tuple[int, Outcome]] = {}
    lengths = [*SCALES]
    for number in sorted(
        range(len(sections)), key=lambda n: lengths.index(sections[n].about["scale"])
    ):
        section = sections[number]
        for one in section.outcomes:
            claim = section.experiment.name, section.about["dataset"], one.claim.key
            known = found.get(claim)
            if not known or not one.reason or (known[1].reason and one.reason != NOT_RUN):
                found[claim] = (number, one)

    def place(one: tuple[int, Outcome]) -> tuple[int, int, int]:
        experiment = sections[one[0]].experiment
        return experiment.order, list(experiment.claims).index(one[1].claim), one[0]

    return sorted(found.values(), key=place)


# ---- The first lines, and the first table ----------------------------------------------------------------------------


def _by_text(found: Standing) -> list[Standing]:
    """The outcomes of one claim under all its conditions together."""
    groups: dict[tuple[str, str], Standing] = {}
    for number, one in found:
        groups.setdefault((one.claim.said_by, one.claim.text), []).append((number, one))
    return list(groups.values())


def _paper(sections: Sequence[Section], found: Standing) -> str:
    """A line for each claim of the paper: verdict, words, its first number that was decided, and a picture."""
    lines = []
    for group in _by_text(found):
        number, first = min(group, key=lambda one: bool(one[1].reason))
        if not first.claim.said_by.startswith(PAPER):
            continue
        section = sections[number]
        picture = (
            f" [Picture]({section.folder}/{section.pictures[0].file})" if section.pictures else ""
        )
        name = first.claim.number
        where = f", {first.claim.condition}" if first.claim.condition else ""
        lines.append(
            f"- {markdown.verdict_on([one for _, one in group])}: {first.claim.text} {name[0].upper()}{name[1:]}"
            f"{where}: {markdown.measured(first)}.{picture}"
        )
    return "\n".join(lines)


def _first_table(sections: Sequence[Section], found: Standing) -> str:
    rows = []
    for group in _by_text(found):
        claim = group[0][1].claim
        places = sorted({number for number, _ in group})
        links = [f"[{n + 1}](#{_anchor(n, sections)})" for n in places]
        verdict = markdown.verdict_on([one for _, one in group])
        rows.append([claim.said_by, claim.text, verdict, ", ".join(links)])
    return markdown.table(["said or asked by", "what was said", "verdict", "section"], rows)


# ---- Sections --------------------------------------------------------------------------------------------------------


def _section(number: int, sections: Sequence[Section]) -> list[str]:
    section = sections[number]
    experiment, again = section.experiment, _again(number, sections)
    ran = [one for one in section.outcomes if one.reason != NOT_RUN]
    numbers = collections.Counter(one.claim.number for one in ran)
    by_number: dict[str, list[Outcome]] = {}
    for one in ran:  # numbers that stand alone share a table
        name = one.claim.number if numbers[one.claim.number] > 1 else ""
        by_number.setdefault(name, []).append(one)
    shown = section.pictures if experiment.gallery else section.pictures[:1]
    return [
        f'<a id="{_anchor(number, sections)}"></a>',
        f"## {number + 1}. {experiment.title}{again and f' ({again})'}",
        f"The same question, {again}."
        if again
        else f"{experiment.lead}\n\n{_beginning(experiment.question)}",
        *(markdown.figure(one, section.folder, whole=not experiment.gallery) for one in shown),
        *(markdown.claims_table(some) for some in by_number.values()),
        _NOT_RUN if len(ran) < len(section.outcomes) else "",
        _links(section),
    ]


def _again(number: int, sections: Sequence[Section]) -> str:
    """What tells a section from the first about its experiment: "at the scale long"; "" for the first itself."""
    section = sections[number]
    first = next(one for one in sections if one.experiment.name == section.experiment.name)
    if first is section:
        return ""
    here, there = section.about, first.about
    parts = [
        f"at the scale {here['scale']}" if here["scale"] != there["scale"] else "",
        f"on {here['dataset']}" if here["dataset"] != there["dataset"] else "",
    ]
    return " ".join(part for part in parts if part) or "again"


def _anchor(number: int, sections: Sequence[Section]) -> str:
    """What links within the page name a section by: "4-same-step-size"."""
    return f"{number + 1}-{sections[number].experiment.name}".replace("_", "-")


def _links(section: Section) -> str:
    folder, about = section.folder, section.about
    more = 0 if section.experiment.gallery else len(section.pictures) - 1
    pictures = f" and {more} more picture{'s' * (more > 1)}" if more > 0 else ""
    told = {
        "scale": "scale {}",
        "dataset": "{}",
        "meta_steps": "{} meta-steps",
        "tasks_in_a_meta_step": "B = {}",
    }
    ran = [text.format(about[name]) for name, text in told.items() if name in about]
    if "cell_seconds" in about:
        ran.append(markdown.duration(about["cell_seconds"]))
    return (
        f"[The report]({folder}/report.md) has the rules, the tables{pictures}. The numbers are in "
        f"[results.csv]({folder}/results.csv), the verdicts in [claims.json]({folder}/claims.json). ({', '.join(ran)})"
    )


def _beginning(text: str) -> str:
    """The first paragraph, with the one that it announces if it ends in a colon."""
    paragraphs = text.strip().split("\n\n")
    return "\n\n".join(paragraphs[: 2 if paragraphs[0].endswith(":") else 1])


def _attributed() -> str:
    rows = [
        [one.quantity, f"`{one.strongly_convex}`", f"`{one.nonconvex}`", one.confidence]
        for one in bounds.ATTRIBUTED
    ]
    header = ["attributed, not quoted", "strongly convex", "nonconvex", "confidence"]
    return markdown.table(header, rows)
