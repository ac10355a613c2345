"""A section of the study's page: one experiment as it was run once, and where it stands among the others.

An experiment may have several, at several scales or on several data sets; a claim then counts once on each data set,
see `standing`. Sections are numbered from 0 in their order; readers see them from 1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from anil_tf.study.claims import NOT_RUN, Claim, Picture
from anil_tf.study.scale import SCALES

if TYPE_CHECKING:
    from anil_tf.study.experiment import Experiment


@dataclasses.dataclass(frozen=True)
class Section:
    """What the page needs of one experiment.

    Attributes:
        experiment: what was asked.
        claims: as they were decided.
        pictures: in its folder; the first one is shown, or all of them.
        about: how it was run, see `report.render`.
        folder: seen from the page, without a slash at its end; it holds report.md, results.csv and claims.json.
    """

    experiment: Experiment
    claims: Sequence[Claim]
    pictures: Sequence[Picture]
    about: Mapping[str, Any]
    folder: str


def standing(sections: Sequence[Section]) -> list[tuple[int, Claim]]:
    """Each claim once: as the longest scale decided it, of those whose design can.

    Args:
        sections: of the page.

    Returns:
        Claims, each with the number of the section that it stands in, in the order of the sections. Two claims of an
        experiment are the same if their words and their data are.
    """
    found: dict[tuple[str, str, str], tuple[int, Claim]] = {}
    for number in sorted(range(len(sections)), key=lambda number: _length(sections[number])):
        section = sections[number]
        for claim in section.claims:
            words = (section.experiment.name, dataset(section), claim.claim)
            known = found.get(words)
            if not known or not claim.reason or (known[1].reason and claim.reason != NOT_RUN):
                found[words] = (number, claim)
    return sorted(found.values(), key=lambda one: one[0])


def dataset(section: Section) -> str:
    """The data that it ran on; "" if that is not known."""
    return str(section.about.get("dataset", ""))


def is_told_again(number: int, sections: Sequence[Section]) -> bool:
    """Whether an earlier section is about the same experiment."""
    return _first_told(number, sections) is not sections[number]


def difference(number: int, sections: Sequence[Section]) -> str:
    """What tells a section from the first about its experiment: "at the scale long", "on omniglot", or both."""
    section, first = sections[number], _first_told(number, sections)
    scale = section.about.get("scale")
    parts = [
        f"at the scale {scale}" if scale != first.about.get("scale") else "",
        f"on {dataset(section)}" if dataset(section) != dataset(first) else "",
    ]
    return " ".join(part for part in parts if part) or "again"


def title(number: int, sections: Sequence[Section]) -> str:
    """The experiment's title, with the difference where it is told again."""
    words = sections[number].experiment.title
    again = is_told_again(number, sections)
    return f"{words} ({difference(number, sections)})" if again else words


def link(number: int, sections: Sequence[Section]) -> str:
    """The section's number as a link to it, in Markdown."""
    return f"[{number + 1}](#{anchor(number, sections)})"


def anchor(number: int, sections: Sequence[Section]) -> str:
    """What links within the page name it by: "4-same-step-size"."""
    return f"{number + 1}-{sections[number].experiment.name}".replace("_", "-")


def _length(section: Section) -> int:
    """The place of a section's scale among the scales, which grow; -1 for none."""
    scale = section.about.get("scale")
    return list(SCALES).index(scale) if scale in SCALES else -1


def _first_told(number: int, sections: Sequence[Section]) -> Section:
    """The first section about the same experiment."""
    name = sections[number].experiment.name
    return next(section for section in sections if section.experiment.name == name)
