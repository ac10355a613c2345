"""What an experiment finds: claims with verdicts, and the pictures and tables that show them.

A `Rule` is fixed before any run: what is claimed, and which statistic decides by which threshold.
A `Claim` is the outcome: the statistic that was measured, its interval, and the verdict. The rules
of an experiment are constants of its module, so the history of that file proves that they are older
than the results. claims.json holds the claims of one experiment, and nothing that is not in them:

    [{"experiment": ..., "claim": ..., "rule": ..., "statistic": 0.31, "interval": [0.1, 0.52],
      "seeds": 3, "verdict": "supported"}]
"""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, get_args

from anil_tf import files

if TYPE_CHECKING:
    import pandas as pd

    from anil_tf.study.statistics import Interval

Verdict = Literal["supported", "not supported", "inconclusive"]
SUPPORTED: Verdict = "supported"
NOT_SUPPORTED: Verdict = "not supported"
INCONCLUSIVE: Verdict = "inconclusive"
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
NOT_RUN = "not run"  # the reason of a claim whose runs a scale leaves out
MARKS: dict[Verdict, str] = {SUPPORTED: "✓", NOT_SUPPORTED: "✗", INCONCLUSIVE: "?"}


@dataclasses.dataclass(frozen=True)
class Rule:
    """How one claim is decided, fixed before any run.

    Attributes:
        claim: what is claimed, in one sentence, and by whom if not by the paper.
        rule: the statistic, over what it is taken, its interval, and the threshold. It says when
            the claim is supported, when it is not, and when it is left inconclusive.
        statistic: a short name of the number, for tables: "slope of log K against log N".
        unit: of the number, for tables: "%", "s", "nats"; "" for a pure number.
    """

    claim: str
    rule: str
    statistic: str = ""
    unit: str = ""

    def claimed(
        self, experiment: str, interval: Interval, verdict: Verdict, reason: str = ""
    ) -> Claim:
        """The outcome of this rule.

        Args:
            experiment: the name of the experiment.
            interval: the statistic that was measured, with its interval over `count` seeds.
            verdict: what the rule says of it, see `statistics.decide`.
            reason: why the design could not decide it, see `Claim`.
        """
        return Claim(
            experiment,
            self.claim,
            self.rule,
            interval.center,
            (interval.low, interval.high),
            interval.count,
            verdict,
            reason,
        )


@dataclasses.dataclass(frozen=True)
class Claim:
    """A claim as it was decided.

    Attributes:
        experiment: its name.
        claim: see `Rule`.
        rule: see `Rule`.
        statistic: the number that was measured; nan if it could not be.
        interval: its ends, low and high; infinite or nan where nothing bounds it.
        seeds: how many the interval is over.
        verdict: one of VERDICTS.
        reason: why the design, not the numbers, leaves it inconclusive: "q^20 = 0.97"; "" else. For
            readers; it follows from the results, so claims.json goes without it.

    Raises:
        ValueError: if the verdict is none of VERDICTS, or there is a reason for another verdict
            than inconclusive.
    """

    experiment: str
    claim: str
    rule: str
    statistic: float
    interval: tuple[float, float]
    seeds: int
    verdict: Verdict
    reason: str = ""

    def __post_init__(self) -> None:
        if self.reason and self.verdict != INCONCLUSIVE:
            raise ValueError(
                f"reason of {self.experiment!r}: expected none for the verdict {self.verdict!r}, "
                f"received {self.reason!r}."
            )
        if self.verdict not in VERDICTS:
            raise ValueError(
                f"verdict of {self.experiment!r}: expected one of {', '.join(VERDICTS)}, "
                f"received {self.verdict!r}."
            )


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture of an experiment.

    Attributes:
        file: its name in the folder of the experiment.
        caption: what it shows and how to read it, in Markdown.
    """

    file: str
    caption: str


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of an experiment, shown in its report.

    Attributes:
        title: what it holds.
        frame: its columns, named for readers and with units; the index is not shown.
        note: what is to be known for reading it, in Markdown.
    """

    title: str
    frame: pd.DataFrame
    note: str = ""


def write(claims: Iterable[Claim], path: str | pathlib.Path) -> None:
    """Writes claims.json.

    Args:
        claims: of one experiment.
        path: the file; an existing one is replaced. Numbers that are not finite become null, since
            JSON has none.
    """
    rows = [
        {
            "experiment": claim.experiment,
            "claim": claim.claim,
            "rule": claim.rule,
            "statistic": _finite(claim.statistic),
            "interval": [_finite(end) for end in claim.interval],
            "seeds": int(claim.seeds),
            "verdict": claim.verdict,
        }
        for claim in claims
    ]
    files.write_atomically(path, json.dumps(rows, indent=2, ensure_ascii=False) + "\n")


def _finite(number: float) -> float | None:
    return float(number) if math.isfinite(number) else None
