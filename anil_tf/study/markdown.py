"""How verdicts, numbers with intervals, tables and pictures are written in Markdown."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from anil_tf.study.claims import INCONCLUSIVE, MARKS, VERDICTS, Outcome, Verdict
from anil_tf.study.experiment import Picture
from anil_tf.study.statistics import Interval

# ---- Verdicts --------------------------------------------------------------------------------------------------------


def marked(verdict: Verdict) -> str:
    """A verdict with its mark, in bold: the word and the shape say it, no colour needs to."""
    return f"{MARKS[verdict]} **{verdict}**"


def in_short(outcomes: Sequence[Outcome]) -> str:
    """How many claims have which verdict: "Of 9 claims: 2 supported, 7 inconclusive (3 by design)."."""
    found = []
    for verdict in VERDICTS:
        given = [one for one in outcomes if one.verdict == verdict]
        designed = sum(bool(one.reason) for one in given)
        if given:
            found.append(
                f"{len(given)} {verdict}" + (f" ({designed} by design)" if designed else "")
            )
    return f"Of {len(outcomes)} claim{'s' * (len(outcomes) != 1)}: {', '.join(found)}."


def verdict_on(outcomes: Sequence[Outcome]) -> str:
    """One verdict for all conditions of a claim, or how many have which; those open by design do not count."""
    counted = [one.verdict for one in outcomes if not one.reason]
    if not counted:
        return f"{marked(INCONCLUSIVE)}, {outcomes[0].reason}"
    return ", ".join(
        marked(verdict)
        + ("" if len(counted) == 1 else f" ({counted.count(verdict)} of {len(counted)})")
        for verdict in VERDICTS
        if verdict in counted
    )


def claims_table(outcomes: Sequence[Outcome]) -> str:
    """Verdict, claim and number, a row for each outcome; a name that all the numbers have stands in the header."""
    names = {one.claim.number for one in outcomes}
    shared = names.pop() if len(names) == 1 else ""
    rows = []
    for one in outcomes:
        why = f", by design: {one.reason}" if one.reason else ""
        number = measured(one)
        rows.append(
            [
                marked(one.verdict) + why,
                one.claim.sentence,
                number if shared else f"{one.claim.number}: {number}",
            ]
        )
    return table(["verdict", "claim", shared or "measured"], rows)


# ---- Numbers ---------------------------------------------------------------------------------------------------------


def measured(outcome: Outcome) -> str:
    """The number of a claim with its interval: "-0.31 nats (-0.50 to -0.12), 3 seeds"."""
    interval = outcome.interval
    if math.isnan(interval.center):
        return "could not be measured"
    number = with_interval(interval, outcome.claim.unit)
    return f"{number}, {interval.count} seed{'s' * (interval.count != 1)}"


def with_interval(interval: Interval, unit: str = "") -> str:
    """A number with its unit and its interval, to two digits of the interval's half: "1.74 s (1.61 to 1.87)"."""
    if math.isnan(interval.center):
        return "-"
    ends = (interval.low, interval.high)
    reach = max((abs(end - interval.center) for end in ends if math.isfinite(end)), default=0.0)
    center = f"{_rounded(interval.center, reach)} {unit}".strip()
    if not any(math.isfinite(end) for end in ends):
        return f"{center} (no interval)"
    low, high = (_rounded(end, reach) for end in ends)
    return f"{center} ({low} to {high})" if reach or not all(map(math.isfinite, ends)) else center


def _rounded(number: float, reach: float) -> str:
    """A number to the place of the second digit of `reach`; to three digits if that is zero."""
    if math.isinf(number):
        return "infinity" if number > 0 else "-infinity"
    size = max(abs(number), reach)
    if size and not 1e-4 <= size < 1e6:
        return f"{number:.2e}"
    if reach == 0:
        return f"{number:.3g}" if size < 1000 else f"{number:.0f}"
    return f"{number:.{min(max(1 - math.floor(math.log10(reach)), 0), 6)}f}"


def duration(seconds: float) -> str:
    """Seconds as people say them: "41 s", "12 min 5 s", "1 h 3 min"."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if minutes else f"{rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


# ---- Tables and pictures ---------------------------------------------------------------------------------------------


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[bool] = ()
) -> str:
    """A table in Markdown.

    Args:
        header: names of the columns.
        rows: of cells; bars in them are escaped.
        numeric: which columns are set to the right; none if empty.
    """
    sides = ["--:" if number else ":--" for number in numeric or [False] * len(header)]
    lines = [[one_line(cell).replace("|", "\\|") for cell in row] for row in (header, *rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], sides, *lines[1:]))


def frame_table(frame: pd.DataFrame) -> str:
    """A frame as a table, numbers to the right; its index is not shown.

    Args:
        frame: of numbers, words, truth values, and `Interval`s. Missing numbers become a dash.
    """
    numeric = [pd.api.types.is_numeric_dtype(frame[name]) for name in frame]
    rows = [[_written(value) for value in row] for row in frame.itertuples(index=False)]
    return table([str(name) for name in frame], rows, numeric)


def _written(value: Any) -> str:
    if isinstance(value, Interval):
        return with_interval(value)
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, float):
        return f"{value:.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.3g}"
    return str(value)


def figure(picture: Picture, folder: str = "", whole: bool = True) -> str:
    """A picture with its caption.

    Args:
        picture: the file and what it shows.
        folder: of the file, seen from the page, without a slash at its end.
        whole: whether all of the caption is shown; else its first sentence.
    """
    caption = one_line(picture.caption)
    first = re.split(r"(?<=[.!?])\s", caption, maxsplit=1)[0]
    # For those who hear the page: without Markdown.
    spoken = re.sub(r"[*_`\[\]]", "", first)
    place = f"{folder}/{picture.file}" if folder else picture.file
    return f"![{spoken}]({place})\n\n{caption if whole else first}"


def one_line(text: str) -> str:
    """A text without line breaks."""
    return " ".join(text.split())
