"""report.md of one experiment: the claim, how it was tested, the pictures, the verdicts, the numbers, how to repeat it.

The report is a pure function of the experiment and of what was found; it can be made anew from results.csv at any time.
What the page over all experiments needs too lies here: how a verdict, a number with its interval and a table are
written.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from anil_tf import files
from anil_tf.study.claims import (
    INCONCLUSIVE,
    MARKS,
    VERDICTS,
    Claim,
    Picture,
    Rule,
    Table,
    Verdict,
)
from anil_tf.study.statistics import Interval

if TYPE_CHECKING:
    import pandas as pd

    from anil_tf.study.experiment import Experiment

# Said instead of the words on the seeds of trials wherever this scale is shown.
SMOKE = (
    "This is the scale smoke, a check that all of it runs. Its seeds include 0, on which settings were tried out; its "
    "verdicts are no evidence."
)

_LEFT, _RIGHT = ":--", "--:"
_SHORT = 5  # characters up to which a float is shown as it is
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


def write(
    path: str | pathlib.Path,
    experiment: Experiment,
    claims: Sequence[Claim],
    pictures: Sequence[Picture],
    tables: Sequence[Table],
    about: Mapping[str, Any],
) -> None:
    """Writes report.md, see `render`.

    Args:
        path: the file; an existing one is replaced.
        experiment: what was asked.
        claims: as they were decided.
        pictures: in the folder of the file.
        tables: with the numbers behind the pictures.
        about: how it was run.
    """
    files.write_atomically(path, render(experiment, claims, pictures, tables, about))


def render(
    experiment: Experiment,
    claims: Sequence[Claim],
    pictures: Sequence[Picture],
    tables: Sequence[Table],
    about: Mapping[str, Any],
) -> str:
    """The text of a report.

    Args:
        experiment: its title, question and rules are shown.
        claims: as they were decided.
        pictures: in the folder of the report.
        tables: with the numbers behind the pictures.
        about: how it was run, by name: `command`, which repeats it; `scale`, `dataset`, `seeds`, `cells`, `hardware`,
            `seconds`, `commit`, `versions` (by library), and whatever else is to be said.

    Returns:
        Markdown.
    """
    parts = [
        f"# {experiment.title}",
        in_short(claims),
        SMOKE if is_smoke(about) else "",
        "## The claim, and how it is tested",
        experiment.question.strip(),
        *(["## What was measured"] if pictures else []),
        *(figure(picture, number) for number, picture in enumerate(pictures, start=1)),
        "## The verdicts",
        "Each rule was fixed before the run. Intervals are over seeds, at 95 % unless a rule says otherwise.",
        *(
            f"{table}\n\n> **Rule.** {rule}"
            for rule, table in claims_tables(experiment.rules, claims)
        ),
        *(["## The numbers"] if tables else []),
        *(_table(table) for table in tables),
        "## Repeat it",
        _repeat(about),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


# ---- Verdicts and claims ---------------------------------------------------------------------------------------------


def marked(verdict: Verdict) -> str:
    """A verdict with its mark, in bold: the word and the shape say it, no colour needs to."""
    return f"{MARKS[verdict]} **{verdict}**"


def verdict_of(claim: Claim) -> str:
    """The verdict of a claim, marked; with the reason if its design could not decide it."""
    return marked(claim.verdict) + (f", by design: {claim.reason}" if claim.reason else "")


def in_short(claims: Sequence[Claim]) -> str:
    """How many claims have which verdict, in a sentence.

    "Of 9 claims: 2 supported and 7 inconclusive, 3 of them by design."

    Args:
        claims: of one experiment or of several.
    """
    if not claims:
        return "No claim was decided."
    counts = {verdict: sum(claim.verdict == verdict for claim in claims) for verdict in VERDICTS}
    found = [f"{count} {verdict}" for verdict, count in counts.items() if count]
    listed = " and ".join([", ".join(found[:-1]), found[-1]] if len(found) > 1 else found)
    designed = sum(bool(claim.reason) for claim in claims)
    if designed:
        every = designed == counts[INCONCLUSIVE]
        listed += ", by design" if every else f", {designed} of them by design"
    return f"Of {len(claims)} claim{'s' if len(claims) > 1 else ''}: {listed}."


def claims_tables(rules: Mapping[str, Rule], claims: Sequence[Claim]) -> list[tuple[str, str]]:
    """A table for each rule text, with a row for each claim that it decides: verdict, claim, and the number.

    Args:
        rules: of the experiment, for the names and the units of the numbers.
        claims: as they were decided.

    Returns:
        The rules, in the order of their first claims, each with its table.
    """
    by_rule: dict[str, list[Claim]] = {}
    for claim in claims:
        by_rule.setdefault(_one_line(claim.rule), []).append(claim)
    return [(rule, _claims_table(rules, decided)) for rule, decided in by_rule.items()]


def _claims_table(rules: Mapping[str, Rule], claims: Sequence[Claim]) -> str:
    """One table; a name that all its numbers have stands in the header."""
    names = {rule_of(rules, claim).statistic for claim in claims}
    shared = names.pop() if len(names) == 1 else ""
    rows = []
    for claim in claims:
        rule = rule_of(rules, claim)
        number = measured(dataclasses.replace(rule, statistic="") if shared else rule, claim)
        rows.append([verdict_of(claim), claim.claim, number])
    return markdown_table(["verdict", "claim", shared or "measured"], rows, [_LEFT] * 3)


def rule_of(rules: Mapping[str, Rule], claim: Claim) -> Rule:
    """The rule that decided a claim; one made from the claim itself, if the experiment has another by now."""
    for rule in rules.values():
        if (rule.claim, rule.rule) == (claim.claim, claim.rule):
            return rule
    return Rule(claim.claim, claim.rule)


def measured(rule: Rule, claim: Claim) -> str:
    """The number of a claim, in words: "slope of loss against N: -0.31 nats (-0.50 to -0.12), 3 seeds".

    Args:
        rule: for the name and the unit of the number.
        claim: the number and its interval.
    """
    name = f"{rule.statistic}: " if rule.statistic else ""
    if math.isnan(claim.statistic):
        return f"{name}could not be measured"
    low, high = claim.interval
    number = with_interval(Interval(claim.statistic, low, high, claim.seeds), rule.unit)
    return f"{name}{number}, {claim.seeds} seed{'' if claim.seeds == 1 else 's'}"


def with_interval(interval: Interval, unit: str = "") -> str:
    """A number with its unit and its interval, to two digits of the interval's half: "1.74 s (1.61 to 1.87)".

    Args:
        interval: the number.
        unit: "" for a pure number.
    """
    if math.isnan(interval.center):
        return "-"
    finite = [end for end in (interval.low, interval.high) if math.isfinite(end)]
    reach = max((abs(end - interval.center) for end in finite), default=0.0)
    center = f"{_rounded(interval.center, reach)}{' ' + unit if unit else ''}"
    if not finite:
        return f"{center} (no interval)"
    if reach == 0 and len(finite) == 2:
        return center
    low, high = (_rounded(end, reach) for end in (interval.low, interval.high))
    return f"{center} ({low} to {high})"


def _rounded(number: float, reach: float) -> str:
    """A number to the place of the second digit of `reach`; to three digits if that is zero."""
    if math.isinf(number):
        return "infinity" if number > 0 else "-infinity"
    size = max(abs(number), reach)
    if size and not 1e-4 <= size < 1e6:
        return f"{number:.2e}"
    if reach == 0:
        return f"{number:.3g}" if size < 1000 else f"{number:.0f}"
    places = 1 - math.floor(math.log10(reach))
    return f"{number:.{min(max(places, 0), 6)}f}"


# ---- Pictures and tables ---------------------------------------------------------------------------------------------


def figure(picture: Picture, number: int | None = None, folder: str = "") -> str:
    """A picture with its caption, in Markdown.

    Args:
        picture: the file and what it shows.
        number: of the figure; None for none.
        folder: of the file, seen from the page, without a slash at its end.
    """
    name = f"**Figure {number}.** " if number is not None else ""
    caption = _one_line(picture.caption)
    place = f"{folder}/{picture.file}" if folder else picture.file
    return f"![{_plain(caption)}]({place})\n\n{name}{caption}"


def small_figure(picture: Picture, folder: str) -> str:
    """A picture for a cell of a table, with the first sentence of its caption below.

    Args:
        picture: the file and what it shows.
        folder: of the file, seen from the page, without a slash at its end.
    """
    sentence = _first_sentence(_one_line(picture.caption))
    return f"![{_plain(sentence)}]({folder}/{picture.file})<br>{sentence}"


def markdown_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], sides: Sequence[str]
) -> str:
    """A table in Markdown whose columns are aligned in the source, too.

    Args:
        header: names of the columns.
        rows: of cells; bars in them are escaped.
        sides: ":--" for a column set to the left, "--:" for one set to the right.
    """
    cells = [[_cell(text) for text in row] for row in [header, *rows]]
    widths = [max(3, *(len(row[place]) for row in cells)) for place in range(len(header))]
    lines = [
        [
            text.rjust(width) if side == _RIGHT else text.ljust(width)
            for text, width, side in zip(row, widths, sides, strict=True)
        ]
        for row in cells
    ]
    rule = [
        "-" * (width - 1) + ":" if side == _RIGHT else ":" + "-" * (width - 1)
        for width, side in zip(widths, sides, strict=True)
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])


def frame_table(frame: pd.DataFrame) -> str:
    """A frame as a table: numbers to the right, with digits that suit their column; its index is not shown.

    Args:
        frame: of numbers, words, truth values, verdicts (they get their marks), and `Interval`s. Missing numbers become
            a dash.
    """
    columns = [frame[name].tolist() for name in frame.columns]
    written = [_column(values) for values in columns]
    sides = [_RIGHT if _is_numeric(values) else _LEFT for values in columns]
    return markdown_table(
        [str(name) for name in frame.columns], list(zip(*written, strict=True)), sides
    )


def _table(table: Table) -> str:
    parts = [f"### {table.title}", _one_line(table.note), frame_table(table.frame)]
    return "\n\n".join(part for part in parts if part)


def _column(values: Sequence[Any]) -> list[str]:
    floats = [float(value) for value in values if _is_float(value) and math.isfinite(value)]
    places = _places(floats)
    return [_written(value, places) for value in values]


def _written(value: Any, places: int | None) -> str:
    if isinstance(value, Interval):
        return with_interval(value)
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, str):
        return marked(value) if value in VERDICTS else value  # type: ignore[arg-type]
    if _is_float(value):
        return _float(float(value), places)
    return "-" if value is None else str(value)


def _float(value: float, places: int | None) -> str:
    if math.isnan(value):
        return "-"
    if math.isinf(value):
        return "infinity" if value > 0 else "-infinity"
    if places is None:
        return f"{value:g}"
    lost = value != 0 and abs(value) < 0.5 * 10**-places
    return f"{value:.1e}" if lost or abs(value) >= 1e7 else f"{value:.{places}f}"


def _places(values: Sequence[float]) -> int | None:
    """Decimal places that suit a column: three digits of its middle number; None if all numbers are short."""
    if all(len(f"{value:g}") <= _SHORT and float(f"{value:g}") == value for value in values):
        return None
    sizes = [abs(value) for value in values if value]
    return int(min(max(2 - math.floor(math.log10(float(np.median(sizes)))), 0), 6))


def _is_float(value: Any) -> bool:
    return isinstance(value, float | np.floating)


def _is_numeric(values: Sequence[Any]) -> bool:
    kinds = int | float | np.integer | np.floating
    present = [value for value in values if value is not None]
    return bool(present) and all(
        isinstance(value, kinds) and not isinstance(value, bool) for value in present
    )


def _cell(text: str) -> str:
    return _one_line(text).replace("|", "\\|")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=[.!?])\s", text, maxsplit=1)[0]


def _plain(caption: str) -> str:
    """The first sentence of a caption without Markdown, for those who hear the page."""
    return re.sub(r"[*_`\[\]]", "", _first_sentence(caption))


# ---- How it was run --------------------------------------------------------------------------------------------------


def is_smoke(about: Mapping[str, Any]) -> bool:
    """Whether something was run at the scale smoke; then `SMOKE` is to be said.

    Args:
        about: see `render`.
    """
    return about.get("scale") == "smoke"


def facts(about: Mapping[str, Any]) -> str:
    """How something was run, as a list; `command` is left out.

    Args:
        about: see `render`.
    """
    names = [name for name in _FACTS if name in about]
    names += [name for name in about if name not in _FACTS and name != "command"]
    shown = [(_FACTS.get(name, _words(name)), _fact(name, about[name])) for name in names]
    return "\n".join(f"- {name}: {text}" for name, text in shown if text)


def duration(seconds: float) -> str:
    """Seconds as people say them: "41 s", "12 min 5 s", "1 h 3 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _repeat(about: Mapping[str, Any]) -> str:
    command = about.get("command")
    again = "`--from_results` makes the verdicts, the pictures and this report anew from results.csv, without any run."
    parts = [f"```sh\n{command}\n```\n\n{again}" if command else "", facts(about)]
    parts.append("Files: [results.csv](results.csv), [claims.json](claims.json).")
    return "\n\n".join(part for part in parts if part)


def _fact(name: str, value: Any) -> str:
    if name.endswith("seconds") and isinstance(value, int | float):
        return duration(value)
    if isinstance(value, Mapping):
        said = {key: _fact("", item) for key, item in value.items()}
        return ", ".join(f"{key} {text}" for key, text in said.items() if text)
    if isinstance(value, list | tuple):
        return ", ".join(_fact("", item) for item in value)
    return "" if value is None else str(value)


def _words(name: str) -> str:
    return name.replace("_", " ")
