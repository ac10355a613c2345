"""README.md of the whole study: the story in order, each claim with its verdict, a picture, and where the numbers lie.

A reader who knows the paper sees in the first table what became of each of its claims and of each wish of its
reviewers (`first_table.py`); below, a section for each experiment tells what was asked and found, and links to its
report (`section.py`).
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from anil_tf import files
from anil_tf.study import first_table, report
from anil_tf.study.claims import (
    INCONCLUSIVE,
    MARKS,
    NOT_RUN,
    NOT_SUPPORTED,
    SUPPORTED,
    VERDICTS,
    Claim,
    Verdict,
)
from anil_tf.study.section import (
    Section,
    anchor,
    difference,
    is_told_again,
    link,
    standing,
    title,
)
from anil_tf.theory import bounds

_PAPER, _REVIEWER, _THEORY = "the paper", "a reviewer", "the derivation"

# Who asked, and what leads from the experiment before to this one.
_LEADS: dict[str, tuple[str, str]] = {
    "strongly_convex": (
        _PAPER,
        "We begin where the paper does. Only the last layer is adapted, and an l2 term makes its inner loss strongly "
        "convex: an inner step then shrinks what came before it by q = 1 - alpha mu, and more of them should help.",
    ),
    "nonconvex": (
        _PAPER,
        "Adapt two layers instead of one, and the inner loss has no such curvature to lean on. Now more inner steps "
        "should hurt, unless they become shorter as they become more.",
    ),
    "same_step_size": (
        _REVIEWER,
        "The two geometries ran at different inner step sizes. Is it the geometry that makes the difference, or the "
        "step? Here both take the same one.",
    ),
    "anil_vs_maml": (
        f"Raghu et al., {_REVIEWER}",
        "Why adapt a part at all? Because it is cheaper. All layers adapted in the same set-up, which is MAML, say by "
        "how much, and at what price in accuracy.",
    ),
    "batch_size": (
        _REVIEWER,
        "The rates have two parts: one falls with the number of meta-steps, the other with the number of tasks in "
        "each of them. This is the second.",
    ),
    "sample_size": (
        _REVIEWER,
        "The analysis does not know how many images a task has. Training does.",
    ),
    "predictions": (
        _THEORY,
        "So far we watched training. The derivation says more, and more sharply: ten predictions on trajectories, "
        "gradients and curvatures, each drawn beside what was measured.",
    ),
    "complexity": (
        f"{_PAPER}, {_THEORY}",
        "Last, the bill. More inner steps may save meta-steps, and make each of them dearer: how many are best?",
    ),
    "advice": (
        "this library",
        "What use is a landscape? It says how far an inner step may go, and how many are worth taking, before anything "
        "is trained. (FC100 had been seen when the advice took its present form, Omniglot had not: the report tells.)",
    ),
}

_GALLERIES = ("predictions",)

_INTRODUCTION = """\
ANIL adapts the last layers of a network to a task, the head, and shares the rest, the body. Ji, Lee, Liang and Poor
(*Convergence of Meta-Learning with Task-Specific Adaptation over Partial Parameters*, NeurIPS 2020,
[arXiv:2006.09486](https://arxiv.org/abs/2006.09486)) prove how fast its training converges, and how the number N of
inner steps enters. Their finding: it depends on the geometry of the inner loss. Where that is strongly convex, more
inner steps speed training up; where it is not convex, they slow it down.

This page measures that. Each claim was written down, with a rule that decides it, before anything ran. The rule then
said *supported*, *not supported* or *inconclusive*, and what it said stands here."""

_TELLING = (
    "A row for each claim; where it was judged under several conditions, a line for each, the decided ones first. "
    "Conditions under which no interval could have decided, *by design*, are counted and not listed; the sections say "
    "why."
)
_NOT_RUN = "Its other claims were not run at this scale."
_ONCE = "A claim that was judged at several scales counts once: at the longest whose design can decide it."

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


def write(path: str | pathlib.Path, sections: Sequence[Section], about: Mapping[str, Any]) -> None:
    """Writes README.md, see `render`.

    Args:
        path: the file; an existing one is replaced.
        sections: in the order of the story. An experiment may have several, such as one at greater length.
        about: how all of it was run.
    """
    files.write_atomically(path, render(sections, about))


def render(sections: Sequence[Section], about: Mapping[str, Any]) -> str:
    """The text of the page.

    Args:
        sections: in the order of the story.
        about: how all of it was run, see `report.render`; `command` repeats it.

    Returns:
        Markdown.
    """
    found = standing(sections)
    several = len(found) < sum(len(section.claims) for section in sections)
    parts = [
        "# The convergence of ANIL, measured",
        _INTRODUCTION,
        "## What became of each claim",
        " ".join([_TELLING, _ONCE] if several else [_TELLING]),
        first_table.render(sections, found),
        report.in_short([claim for _, claim in found]),
        "## The experiments",
        _overview(sections, found),
        "## How to read it",
        _reading(sections),
        *(part for number in range(len(sections)) for part in _section(number, sections)),
        "## What the paper is believed to state",
        _ATTRIBUTED_READING,
        _attributed(),
        "## Repeat it",
        _repeat(about),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


# ---- The experiments -------------------------------------------------------------------------------------------------


def _overview(sections: Sequence[Section], found: Sequence[tuple[int, Claim]]) -> str:
    rows = [
        [
            link(number, sections),
            title(number, sections),
            _LEADS.get(section.experiment.name, ("", ""))[0],
            *(_count([one for at, one in found if at == number], verdict) for verdict in VERDICTS),
        ]
        for number, section in enumerate(sections)
    ]
    header = ["", "question", "asked by", *(report.marked(verdict) for verdict in VERDICTS)]
    sides = ["--:", ":--", ":--", "--:", "--:", "--:"]
    return report.markdown_table(header, rows, sides) if rows else ""


def _count(claims: Sequence[Claim], verdict: Verdict) -> str:
    """How many claims have a verdict, and how many of them by design; "" for none."""
    counted = [claim for claim in claims if claim.verdict == verdict]
    designed = sum(bool(claim.reason) for claim in counted)
    return (str(len(counted)) + (f" ({designed} by design)" if designed else "")) if counted else ""


def _reading(sections: Sequence[Section]) -> str:
    scales = [report.is_smoke(section.about) for section in sections]
    trials = [] if all(scales) else [_TRIALS]
    return "\n".join([_READING, *trials, *([f"- {report.SMOKE}"] if any(scales) else [])])


def _section(number: int, sections: Sequence[Section]) -> list[str]:
    section = sections[number]
    experiment = section.experiment
    ran = [claim for claim in section.claims if claim.reason != NOT_RUN]
    told = [
        _LEADS.get(experiment.name, ("", ""))[1],
        _beginning(experiment.question),
    ]
    if is_told_again(number, sections):
        told = [f"The same question, {difference(number, sections)}."]
    return [
        f'<a id="{anchor(number, sections)}"></a>',
        f"## {number + 1}. {title(number, sections)}",
        *told,
        _pictures(section),
        *(table for _, table in report.claims_tables(experiment.rules, ran)),
        _NOT_RUN if len(ran) < len(section.claims) else "",
        _links(section),
    ]


def _pictures(section: Section) -> str:
    """The first picture; all of them, small, of an experiment each of whose pictures is a finding of its own."""
    if section.experiment.name not in _GALLERIES or not section.pictures:
        shown = section.pictures[:1]
        return "".join(report.figure(picture, folder=section.folder) for picture in shown)
    cells = [report.small_figure(picture, section.folder) for picture in section.pictures]
    rows = [cells[place : place + 2] for place in range(0, len(cells), 2)]
    rows[-1] += [""] * (2 - len(rows[-1]))
    return report.markdown_table(["", ""], rows, [":--", ":--"])


def _attributed() -> str:
    rows = [
        [one.quantity, f"`{one.strongly_convex}`", f"`{one.nonconvex}`", one.confidence]
        for one in bounds.ATTRIBUTED
    ]
    header = [
        "attributed, not quoted",
        "strongly convex inner loss",
        "nonconvex inner loss",
        "confidence",
    ]
    return report.markdown_table(header, rows, [":--"] * 4)


def _links(section: Section) -> str:
    folder, about = section.folder, section.about
    more = 0 if section.experiment.name in _GALLERIES else len(section.pictures) - 1
    pictures = f" and {more} more picture{'s' if more > 1 else ''}" if more > 0 else ""
    ran = ", ".join(
        text
        for text in (
            f"scale {about['scale']}" if "scale" in about else "",
            str(about.get("dataset", "")),
            f"{about['meta_steps']} meta-steps" if "meta_steps" in about else "",
            f"B = {about['tasks_in_a_meta_step']}" if "tasks_in_a_meta_step" in about else "",
            report.duration(about["cell_seconds"]) if "cell_seconds" in about else "",
        )
        if text
    )
    return (
        f"[The report]({folder}/report.md) has the rules, the tables{pictures}. The numbers are in "
        f"[results.csv]({folder}/results.csv), the verdicts in [claims.json]({folder}/claims.json)."
        + (f" ({ran})" if ran else "")
    )


def _repeat(about: Mapping[str, Any]) -> str:
    command = about.get("command")
    shown = f"```sh\n{command}\n```" if command else ""
    return "\n\n".join(part for part in (shown, report.facts(about)) if part)


def _beginning(text: str) -> str:
    """The first paragraph, with the one that it announces if it ends in a colon."""
    paragraphs = text.strip().split("\n\n")
    many = 2 if paragraphs[0].endswith(":") else 1
    return "\n\n".join(paragraphs[:many])
