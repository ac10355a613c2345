"""report.md of one experiment: the claim, how it was tested, the pictures, the verdicts, the numbers, how to repeat it.

The report is a pure function of the experiment and of what was found; it can be made anew from results.csv at any time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anil_tf.study import markdown
from anil_tf.study.claims import Outcome
from anil_tf.study.experiment import Experiment, Picture, Table

# Said instead of the words on the seeds of trials wherever this scale is shown.
SMOKE = (
    "This is the scale smoke, a check that all of it runs. Its seeds include 0, on which settings were tried out; its "
    "verdicts are no evidence."
)
_FACTS = {
    "scale": "scale",
    "dataset": "data",
    "seeds": "seeds",
    "meta_steps": "meta-steps of a training run, K",
    "tasks_in_a_meta_step": "tasks in a meta-step, B",
    "cells": "cells",
    "hardware": "hardware",
    "cell_seconds": "time of the cells, each by itself",
    "seconds": "time",
    "commit": "commit",
    "versions": "versions",
}


def render(
    experiment: Experiment,
    outcomes: Sequence[Outcome],
    pictures: Sequence[Picture],
    tables: Sequence[Table],
    about: Mapping[str, Any],
) -> str:
    """The text of a report.

    Args:
        experiment: its title and question are shown.
        outcomes: its claims as they were decided.
        pictures: those that were drawn, in the folder of the report.
        tables: with the numbers behind the pictures.
        about: how it was run, by name: `command`, which repeats it; `scale`, `dataset`, `seeds`, `cells`, `hardware`,
            `seconds`, `commit`, `versions` (by library), and whatever else is to be said.

    Returns:
        Markdown.
    """
    by_rule: dict[str, list[Outcome]] = {}
    for one in outcomes:
        by_rule.setdefault(one.claim.rule, []).append(one)
    parts = [
        f"# {experiment.title}",
        markdown.in_short(outcomes),
        SMOKE if is_smoke(about) else "",
        "## The claim, and how it is tested",
        experiment.question.strip(),
        "## What was measured" if pictures else "",
        *(markdown.figure(picture) for picture in pictures),
        "## The verdicts",
        "Each rule was fixed before the run.",
        *(f"{markdown.claims_table(some)}\n\n> **Rule.** {rule}" for rule, some in by_rule.items()),
        "## The numbers" if tables else "",
        *(part for one in tables for part in _table(one)),
        "## Repeat it",
        f"```sh\n{about['command']}\n```" if "command" in about else "",
        "`--from_results` makes the verdicts, the pictures and this report anew from results.csv, without any run.",
        facts(about),
        "Files: [results.csv](results.csv), [claims.json](claims.json).",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(table: Table) -> list[str]:
    return [f"### {table.title}", markdown.one_line(table.note), markdown.frame_table(table.frame)]


def is_smoke(about: Mapping[str, Any]) -> bool:
    """Whether something was run at the scale smoke; then `SMOKE` is to be said."""
    return about.get("scale") == "smoke"


def facts(about: Mapping[str, Any]) -> str:
    """How something was run, as a list; `command` is left out.

    Args:
        about: see `render`.
    """
    names = [name for name in _FACTS if name in about]
    names += [name for name in about if name not in _FACTS and name != "command"]
    told = [(_FACTS.get(name, name.replace("_", " ")), _fact(name, about[name])) for name in names]
    return "\n".join(f"- {name}: {text}" for name, text in told if text)


def _fact(name: str, value: Any) -> str:
    if name.endswith("seconds") and isinstance(value, int | float):
        return markdown.duration(value)
    if isinstance(value, Mapping):
        said = {key: _fact("", item) for key, item in value.items()}
        return ", ".join(f"{key} {text}" for key, text in said.items() if text)
    if isinstance(value, list | tuple):
        return ", ".join(_fact("", item) for item in value)
    return "" if value is None else str(value)
