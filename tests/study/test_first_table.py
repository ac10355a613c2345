import dataclasses

from anil_tf.study.claims import INCONCLUSIVE, SUPPORTED
from tests.study.sections import DESIGN, PER_STEP, headline, section


def test_a_headline_says_who_said_it_and_tells_each_condition_with_its_number_and_its_place():
    assert headline(PER_STEP, "Strongly convex inner loss: a larger N") == [
        "the paper",
        "Strongly convex inner loss: a larger N converges faster per meta-step.",
        "✗ **not supported** (1 of 2)<br>? **inconclusive** (1 of 2)",
        "✗ lambda = 2: number 2: 1.00 s (0.50 to 1.50), 3 seeds<br>"
        "? lambda = 1: number 1: 1.00 s (0.50 to 1.50), 3 seeds<br>? 1 more, by design",
        "[1](#1-strongly-convex)",
    ]
    assert headline(PER_STEP, "Nonconvex inner loss: a larger N")[2:] == ["not measured", "", ""]


def test_conditions_that_agree_have_one_verdict_and_a_name_that_all_numbers_share_stands_once():
    agreeing = section(verdicts=(SUPPORTED,) * 2, key="per_step: lambda = {}")
    for rule in (rules := agreeing.experiment.rules):
        rules[rule] = dataclasses.replace(rules[rule], statistic="slope")
    row = headline([agreeing], "Strongly convex inner loss: a larger N")
    assert row[2] == "✓ **supported**"
    number = "1.00 s (0.50 to 1.50), 3 seeds"
    assert row[3] == f"*slope*<br>✓ lambda = 0: {number}<br>✓ lambda = 1: {number}"


def test_a_headline_that_is_all_undecided_by_design_says_so():
    every = section(verdicts=(INCONCLUSIVE,) * 2, reasons=DESIGN * 2, key="per_step: lambda = {}")
    row = headline([every], "Strongly convex inner loss: a larger N")
    assert row[2:4] == ["? **inconclusive**, by design", "? 2 conditions, by design"]
    one = section("nonconvex", (INCONCLUSIVE,), reasons=DESIGN, key="cure")
    row = headline([one], "Nonconvex inner loss: an inner step size")
    assert row[2:4] == ["? **inconclusive**, by design: q^20 = 0.97", ""]
