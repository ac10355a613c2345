"""The first table of the study's page: who said what, and what became of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from anil_tf.study import report
from anil_tf.study.claims import INCONCLUSIVE, MARKS, VERDICTS, Claim
from anil_tf.study.headlines import HEADLINES, Headline, condition
from anil_tf.study.section import Section, dataset, link

_LINE = "<br>"  # within a cell
_MARKED_OPEN = report.marked(INCONCLUSIVE)


def render(sections: Sequence[Section], found: Sequence[tuple[int, Claim]]) -> str:
    """A row for each headline: by whom, its words, its verdict, what was measured, and where.

    Args:
        sections: of the page.
        found: its claims, see `section.standing`.

    Returns:
        Markdown.
    """
    rows = []
    for headline in HEADLINES:
        judged = _judged(headline, sections, found)
        links = dict.fromkeys(link(number, sections) for number, _, _ in judged)
        rows.append(
            [
                headline.said_by,
                headline.text,
                _verdict([claim for _, _, claim in judged]),
                _LINE.join(_numbers(judged, sections)),
                ", ".join(links),
            ]
        )
    header = ["said or asked by", "what was said", "verdict", "measured", "section"]
    return report.markdown_table(header, rows, [":--"] * 4 + ["--:"])


def _verdict(claims: Sequence[Claim]) -> str:
    """One verdict for all conditions of a headline, or how many have which; those undecided by design do not count."""
    if not claims:
        return "not measured"
    counted = [claim for claim in claims if not claim.reason]
    if not counted:
        only = claims[0]
        return report.verdict_of(only) if len(claims) == 1 else f"{_MARKED_OPEN}, by design"
    given = [claim.verdict for claim in counted]
    if len(set(given)) == 1:
        return report.marked(given[0])
    return _LINE.join(
        f"{report.marked(verdict)} ({given.count(verdict)} of {len(given)})"
        for verdict in VERDICTS
        if verdict in given
    )


def _numbers(judged: Sequence[tuple[int, str, Claim]], sections: Sequence[Section]) -> list[str]:
    """What was measured, a line for each condition: decided claims first; those undecided by design are counted."""
    listed = sorted(
        (one for one in judged if not one[2].reason),
        key=lambda one: one[2].verdict == INCONCLUSIVE,
    )
    rules = [sections[number].experiment.rules[key] for number, key, _ in listed]
    if len(judged) == 1:
        return [
            report.measured(rule, claim) for rule, (_, _, claim) in zip(rules, listed, strict=True)
        ]
    wheres, names = _wheres(judged, sections), {rule.statistic for rule in rules}
    shared = names.pop() if len(names) == 1 else ""
    lines = [f"*{shared}*"] if shared else []
    for rule, (number, key, claim) in zip(rules, listed, strict=True):
        number_alone = dataclasses.replace(rule, statistic="") if shared else rule
        told = report.measured(number_alone, claim)
        lines.append(f"{MARKS[claim.verdict]} {wheres[number, key]}: {told}")
    designed = len(judged) - len(listed)
    if designed:
        more = "more" if listed else "conditions"
        lines.append(f"{MARKS[INCONCLUSIVE]} {designed} {more}, by design")
    return lines


def _wheres(
    judged: Sequence[tuple[int, str, Claim]], sections: Sequence[Section]
) -> dict[tuple[int, str], str]:
    """What tells a claim from the others of its headline: its condition, its data, or both."""
    keys = {key for _, key, _ in judged}
    data = {dataset(sections[number]) for number, _, _ in judged}
    return {
        (number, key): ", ".join(
            part
            for part, tells in (
                (condition(key), len(keys) > 1),
                (dataset(sections[number]), len(data) > 1),
            )
            if tells
        )
        for number, key, _ in judged
    }


def _judged(
    headline: Headline, sections: Sequence[Section], found: Sequence[tuple[int, Claim]]
) -> list[tuple[int, str, Claim]]:
    """The claims that decide a headline, each with the number of its section and the key of its rule."""
    judged = []
    for number, claim in found:
        experiment = sections[number].experiment
        if experiment.name == headline.experiment:
            keys = headline.rules(experiment.rules)
            judged += [
                (number, key, claim) for key in keys if experiment.rules[key].claim == claim.claim
            ]
    return judged
