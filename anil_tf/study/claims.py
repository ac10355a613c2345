"""A claim: one object that says what is claimed, by whom, which number decides, and by which test.

How an experiment is written: one file in `experiments/`, found by listing that folder, with one `Experiment`
(`experiment.py`). Its claims are fixed before any run:

    def slope(frame):                                        # the results -> an Interval over the seeds,
        ...                                                  # a Measured, or None where nothing was run

    CLAIMS = [
        Claim(
            key="convergence",                               # its name in claims.json, unique in the experiment
            text="A larger B converges faster per meta-step.",
            said_by=REVIEWER,
            statistic=slope,
            words="The least-squares slope of the training loss against log2 B on each seed.",   # of the statistic only
            test=Below(0.0),                                 # says in words when the claim is supported
            number="training loss per doubling of B",        # short, for tables
            unit="nats",
        )
    ]

A claim that is judged under several conditions is several claims with one `text` and different `condition`s. The rule
in words, claims.json, the tables of the report, the first table of the page and its top lines follow from the object.

claims.json holds the claims of one experiment, and nothing that is not in them:

    [{"experiment": ..., "key": ..., "claim": ..., "rule": ..., "statistic": 0.31, "interval": [0.1, 0.52],
      "seeds": 3, "verdict": "supported"}]
"""

from __future__ import annotations

import abc
import dataclasses
import json
import math
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar, Literal, get_args

import pandas as pd

from anil_tf import files
from anil_tf.study.statistics import UNKNOWN, Interval

Verdict = Literal["supported", "not supported", "inconclusive"]
SUPPORTED: Verdict = "supported"
NOT_SUPPORTED: Verdict = "not supported"
INCONCLUSIVE: Verdict = "inconclusive"
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
MARKS: dict[Verdict, str] = {SUPPORTED: "✓", NOT_SUPPORTED: "✗", INCONCLUSIVE: "?"}
NOT_RUN = "not run"  # the reason of a claim whose runs a scale leaves out

# Who says it.
PAPER = "the paper"
SUMMARY = "the paper, as a third party sums it up"
ATTRIBUTED = "the paper (attributed)"
RAGHU = "Raghu et al."
REVIEWER = "a reviewer"
DERIVATION = "the derivation"
STUDY = "this study, as a control"
LIBRARY = "this library"


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a statistic found, where one interval does not say it all.

    Attributes:
        shown: the number that readers see, with its interval.
        parts: what the test looks at; `shown` alone if empty.
        decides: the verdicts that these numbers can carry; any other becomes inconclusive.
    """

    shown: Interval
    parts: tuple[Interval, ...] = ()
    decides: tuple[Verdict, ...] = (SUPPORTED, NOT_SUPPORTED)


# ---- Tests: from intervals to a verdict ------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Test(abc.ABC):
    """A test of one interval; of several, each must pass."""

    # Whatever the design: one number that is too large is enough.
    refutes_for_sure: ClassVar[bool] = False

    def verdict(self, parts: Sequence[Interval]) -> Verdict:
        """Supported if every part is; not supported if one is not; else inconclusive."""
        return all_of(
            [INCONCLUSIVE if math.isnan(one.center) else self._of_one(one) for one in parts]
        )

    @abc.abstractmethod
    def _of_one(self, interval: Interval) -> Verdict:
        """The verdict of one interval whose centre is known."""

    @abc.abstractmethod
    def _condition(self, unit: str) -> str:
        """What the interval does if the claim is supported: "lies below 0 %"."""

    @abc.abstractmethod
    def _opposite(self, unit: str) -> str:
        """What all of it does if the claim is not supported."""

    def words(self, unit: str) -> str:
        """The test as the last part of a rule."""
        return (
            f"Student's 95 % interval over seeds: supported if the whole interval {self._condition(unit)}, "
            f"not supported if {self._opposite(unit)}, else inconclusive."
        )


@dataclasses.dataclass(frozen=True)
class Below(Test):
    """That a number is below a threshold.

    Attributes:
        than: the threshold, in units of the number.
        indifference: the smallest effect that matters, not negative: the claim is not supported either where the
            number passes the threshold by less, with its whole interval. Zero: only an interval wholly on the other
            side speaks against the claim.
    """

    than: float = 0.0
    indifference: float = 0.0

    def _of_one(self, interval: Interval) -> Verdict:
        if interval.high < self.than:
            return SUPPORTED
        return NOT_SUPPORTED if interval.low > self.than - self.indifference else INCONCLUSIVE

    def _condition(self, unit: str) -> str:
        return f"lies below {_number(self.than, unit)}"

    def _opposite(self, unit: str) -> str:
        if not self.indifference:
            return "all of it lies above"
        least = _number(self.than - self.indifference, unit)
        return f"it does not and all of it lies above {least}, an effect too small to matter"


@dataclasses.dataclass(frozen=True)
class Above(Test):
    """That a number is above a threshold, in units of the number."""

    than: float = 0.0

    def _of_one(self, interval: Interval) -> Verdict:
        if interval.low > self.than:
            return SUPPORTED
        return NOT_SUPPORTED if interval.high < self.than else INCONCLUSIVE

    def _condition(self, unit: str) -> str:
        return f"lies above {_number(self.than, unit)}"

    def _opposite(self, unit: str) -> str:
        return "all of it lies below"


@dataclasses.dataclass(frozen=True)
class Within(Test):
    """That a number lies between two others, in units of the number."""

    low: float
    high: float

    def _of_one(self, interval: Interval) -> Verdict:
        if interval.low > self.low and interval.high < self.high:
            return SUPPORTED
        outside = interval.low > self.high or interval.high < self.low
        return NOT_SUPPORTED if outside else INCONCLUSIVE

    def _condition(self, unit: str) -> str:
        return f"lies within {self.low:.3g} to {_number(self.high, unit)}"

    def _opposite(self, unit: str) -> str:
        return "all of it lies outside"


@dataclasses.dataclass(frozen=True)
class AtMost(Test):
    """That no number exceeds a limit in which there is no chance; the interval is the range of the seeds."""

    limit: float
    refutes_for_sure: ClassVar[bool] = True

    def _of_one(self, interval: Interval) -> Verdict:
        return SUPPORTED if interval.center <= self.limit else NOT_SUPPORTED

    def _condition(self, unit: str) -> str:
        return f"does not exceed {_number(self.limit, unit)}"

    def _opposite(self, unit: str) -> str:
        return "it does"

    def words(self, unit: str) -> str:
        """The test as the last part of a rule."""
        return (
            f"No chance is in it: supported if it {self._condition(unit)}, not supported if it does, inconclusive if a "
            "number is missing. The interval is the range of the seeds."
        )


@dataclasses.dataclass(frozen=True)
class Every:
    """That several numbers pass a test each: what each is, in words, and its test."""

    refutes_for_sure: ClassVar[bool] = False
    tests: tuple[tuple[str, Test], ...]

    def verdict(self, parts: Sequence[Interval]) -> Verdict:
        """Each part by its own test; open where they could not be measured."""
        pairs = zip(self.tests, parts, strict=True) if parts[1:] else ()
        return all_of([test.verdict([part]) for (_, test), part in pairs])

    def words(self, unit: str) -> str:
        """The tests as the last part of a rule."""
        wanted = "; ".join(f"{name} {test._condition(unit)}" for name, test in self.tests)
        return (
            f"Supported if each of these holds, with the whole 95 % interval over seeds: {wanted}. Not supported if "
            "one lies wholly on the other side, else inconclusive."
        )


def all_of(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict of several parts: supported if all are, not supported if one is not, else, or without any, open."""
    parts = list(verdicts)
    if NOT_SUPPORTED in parts:
        return NOT_SUPPORTED
    return SUPPORTED if parts and all(part == SUPPORTED for part in parts) else INCONCLUSIVE


def _number(value: float, unit: str) -> str:
    return f"{value:.3g} {unit}".strip()


# ---- Claims ----------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Gate:
    """What the design must be able to show, or a claim is inconclusive "by design" whatever was measured.

    Attributes:
        words: when it cannot, for the rule.
        reason: from the results, why it cannot: "q^20 = 0.97"; "" if it can.
    """

    words: str
    reason: Callable[[pd.DataFrame], str]


@dataclasses.dataclass(frozen=True)
class Claim:
    """What is claimed, and how it is decided; fixed before any run.

    Attributes:
        key: its name in the experiment, for claims.json.
        text: what is claimed, in one sentence of at most 120 characters with its condition.
        said_by: by whom.
        statistic: of the results: the number with its interval; None where a scale leaves its runs out.
        words: what the statistic is, in sentences; what the test says of it follows by itself.
        test: when the claim is supported, and when it is not.
        number: a short name of the number, for tables: "slope of log K against log N".
        unit: of the number: "%", "s", "nats"; "" for a pure number.
        condition: under which it is judged; "" if there is only one.
        gate: what the design must be able to show, if that is in question.
    """

    key: str
    text: str
    said_by: str
    statistic: Callable[[pd.DataFrame], Interval | Measured | None]
    words: str
    test: Test | Every
    number: str = ""
    unit: str = ""
    condition: str = ""
    gate: Gate | None = None

    @property
    def sentence(self) -> str:
        """The text with its condition."""
        return f"{self.text.removesuffix('.')} ({self.condition})." if self.condition else self.text

    @property
    def rule(self) -> str:
        """The statistic, its interval, the thresholds and what they decide, in words."""
        gate = self.gate.words if self.gate else ""
        return " ".join(part for part in (self.words, self.test.words(self.unit), gate) if part)

    def judge(self, frame: pd.DataFrame) -> Outcome:
        """What the results say of the claim.

        Args:
            frame: the table that `results.read` returns.
        """
        found = self.statistic(frame)
        if found is None:
            return Outcome(self, UNKNOWN, INCONCLUSIVE, NOT_RUN)
        measured = Measured(found) if isinstance(found, Interval) else found
        verdict = self.test.verdict(measured.parts or (measured.shown,))
        if verdict not in measured.decides:
            verdict = INCONCLUSIVE
        reason = self.gate.reason(frame) if self.gate else ""
        if reason and not (verdict == NOT_SUPPORTED and self.test.refutes_for_sure):
            return Outcome(self, measured.shown, INCONCLUSIVE, reason)
        return Outcome(self, measured.shown, verdict)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A claim as it was decided.

    Attributes:
        claim: what was claimed.
        interval: the number with its interval; nan, and infinite ends, where there is none.
        verdict: one of VERDICTS.
        reason: why the design, not the numbers, leaves it inconclusive: "q^20 = 0.97"; "" else. For readers; it follows
            from the results, so claims.json goes without it.
    """

    claim: Claim
    interval: Interval
    verdict: Verdict
    reason: str = ""


def write(outcomes: Iterable[Outcome], experiment: str, path: str | pathlib.Path) -> None:
    """Writes claims.json.

    Args:
        outcomes: of one experiment.
        experiment: its name.
        path: the file; an existing one is replaced. Numbers that are not finite become null, since JSON has none.
    """
    rows = [
        {
            "experiment": experiment,
            "key": one.claim.key,
            "claim": one.claim.sentence,
            "rule": one.claim.rule,
            "statistic": _finite(one.interval.center),
            "interval": [_finite(one.interval.low), _finite(one.interval.high)],
            "seeds": int(one.interval.count),
            "verdict": one.verdict,
        }
        for one in outcomes
    ]
    files.write_atomically(path, json.dumps(rows, indent=2, ensure_ascii=False) + "\n")


def _finite(number: float) -> float | None:
    return float(number) if math.isfinite(number) else None
