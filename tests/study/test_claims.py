"""Claims: from intervals to verdicts, and from one object to all that is written about it."""

import dataclasses
import json
import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anil_tf.study import claims
from anil_tf.study.claims import (
    INCONCLUSIVE,
    NOT_RUN,
    NOT_SUPPORTED,
    SUPPORTED,
    Above,
    AtMost,
    Below,
    Claim,
    Every,
    Gate,
    Measured,
    Within,
)
from anil_tf.study.statistics import UNKNOWN, Interval

NUMBERS = st.floats(-1e6, 1e6, allow_subnormal=False)
SIZES = st.floats(0, 1e6)
FRAME = pd.DataFrame()


@st.composite
def intervals(draw):
    low, center, high = sorted(draw(st.tuples(NUMBERS, NUMBERS, NUMBERS)))
    return Interval(center, low, high, 3)


FALLS = Interval(-0.3, -0.5, -0.1, 3)


def a_claim(found=FALLS, **changes):
    claim = Claim(
        key="slope",
        text="More steps are faster.",
        said_by=claims.PAPER,
        statistic=lambda frame: found,
        words="The slope on each seed.",
        test=Below(0.0),
        number="slope",
        unit="nats",
    )
    return dataclasses.replace(claim, **changes)


# ---- Tests -----------------------------------------------------------------------------------------------------------


@given(intervals(), NUMBERS)
def test_above_needs_the_whole_interval_and_below_is_its_mirror(interval, than):
    above, below = Above(than).verdict([interval]), Below(than).verdict([interval])
    assert (above == SUPPORTED) == (interval.low > than)
    assert (above == NOT_SUPPORTED) == (interval.high < than)
    opposite = {SUPPORTED: NOT_SUPPORTED, NOT_SUPPORTED: SUPPORTED, INCONCLUSIVE: INCONCLUSIVE}
    assert below == opposite[above]


@given(intervals(), NUMBERS, SIZES)
def test_indifference_turns_only_the_inconclusive_into_not_supported(interval, than, indifference):
    before, after = (Below(than, small).verdict([interval]) for small in (0.0, indifference))
    assert after == before or (before, after) == (INCONCLUSIVE, NOT_SUPPORTED)


@given(intervals(), NUMBERS, SIZES)
def test_a_wider_interval_never_says_more(interval, than, more):
    wider = Interval(interval.center, interval.low - more, interval.high + more, 3)
    for test in (Above(than), Below(than), Within(than, than + 1.0)):
        assert test.verdict([wider]) in (test.verdict([interval]), INCONCLUSIVE)


@given(intervals(), NUMBERS, st.floats(1e-3, 1e6))
def test_within_needs_the_whole_interval_inside(interval, low, width):
    found = Within(low, low + width).verdict([interval])
    assert (found == SUPPORTED) == (interval.low > low and interval.high < low + width)
    assert (found == NOT_SUPPORTED) == (interval.low > low + width or interval.high < low)


def test_an_effect_shown_to_be_too_small_is_not_supported():
    small = Interval(0.01, -0.02, 0.04, 3)
    assert Below(0.0).verdict([small]) == INCONCLUSIVE
    assert Below(0.0, indifference=0.05).verdict([small]) == NOT_SUPPORTED


def test_one_number_beyond_a_limit_is_enough_and_a_missing_one_leaves_it_open():
    assert AtMost(1.0).verdict([Interval(1.0, 0.2, 1.0, 3)]) == SUPPORTED
    assert AtMost(1.0).verdict([Interval(1.1, 0.2, 1.1, 3)]) == NOT_SUPPORTED
    assert AtMost(1.0).verdict([UNKNOWN]) == INCONCLUSIVE


def test_every_part_must_pass_its_own_test():
    test = Every((("the growth", Above(0.0)), ("the rest", Within(-0.1, 0.1))))
    up, flat, open_ = Interval(1.0, 0.5, 1.5, 3), Interval(0.0, -0.01, 0.01, 3), UNKNOWN
    assert test.verdict([up, flat]) == SUPPORTED
    assert test.verdict([up, up]) == NOT_SUPPORTED
    assert test.verdict([up, open_]) == test.verdict([open_]) == INCONCLUSIVE
    assert "the growth lies above 0; the rest lies within -0.1 to 0.1" in test.words("")


# ---- Claims ----------------------------------------------------------------------------------------------------------


def test_the_rule_in_words_follows_from_the_test_and_the_gate():
    gate = Gate("Inconclusive if q is large.", lambda frame: "")
    claim = a_claim(test=Below(-2.0, indifference=0.5), unit="%", gate=gate, condition="lambda = 2")
    assert claim.sentence == "More steps are faster (lambda = 2)."
    assert claim.rule == (
        "The slope on each seed. Student's 95 % interval over seeds: supported if the whole interval lies below -2 %, "
        "not supported if it does not and all of it lies above -2.5 %, an effect too small to matter, else "
        "inconclusive. Inconclusive if q is large."
    )


def test_a_claim_is_judged_by_its_statistic_and_its_test():
    outcome = a_claim().judge(FRAME)
    assert (outcome.interval.center, outcome.verdict, outcome.reason) == (-0.3, SUPPORTED, "")
    assert a_claim(test=Above(0.0)).judge(FRAME).verdict == NOT_SUPPORTED
    assert a_claim(UNKNOWN).judge(FRAME).verdict == INCONCLUSIVE


def test_what_was_not_run_says_so():
    outcome = a_claim(None).judge(FRAME)
    assert (outcome.verdict, outcome.reason) == (INCONCLUSIVE, NOT_RUN)


def test_numbers_that_carry_no_verdict_decide_nothing():
    shown = Interval(-0.3, -0.5, -0.1, 3)
    assert a_claim(Measured(shown, decides=(NOT_SUPPORTED,))).judge(FRAME).verdict == INCONCLUSIVE
    parts = (shown, Interval(0.3, 0.1, 0.5, 3))
    assert a_claim(Measured(shown, parts)).judge(FRAME).verdict == NOT_SUPPORTED


def test_a_closed_gate_leaves_it_open_unless_one_number_refutes_for_sure():
    gate = Gate("", lambda frame: "q^20 = 0.97")
    outcome = a_claim(gate=gate).judge(FRAME)
    assert (outcome.verdict, outcome.reason) == (INCONCLUSIVE, "q^20 = 0.97")
    beyond = a_claim(Interval(2.0, 1.0, 2.0, 3), test=AtMost(1.0), gate=gate).judge(FRAME)
    assert (beyond.verdict, beyond.reason) == (NOT_SUPPORTED, "")


def test_the_file_has_exactly_the_keys_of_the_contract_and_strict_json(tmp_path):
    lost = a_claim(Interval(math.nan, -math.inf, math.inf, 3)).judge(FRAME)
    claims.write([a_claim().judge(FRAME), lost], "strongly_convex", tmp_path / "claims.json")
    text = (tmp_path / "claims.json").read_text()
    first, second = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert first == {
        "experiment": "strongly_convex",
        "key": "slope",
        "claim": "More steps are faster.",
        "rule": a_claim().rule,
        "statistic": -0.3,
        "interval": [-0.5, -0.1],
        "seeds": 3,
        "verdict": "supported",
    }
    assert (second["statistic"], second["interval"]) == (None, [None, None])
