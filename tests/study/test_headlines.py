import pytest

from anil_tf.study.experiments import EXPERIMENTS
from anil_tf.study.headlines import HEADLINES, Headline, condition


@pytest.mark.parametrize("headline", HEADLINES, ids=lambda one: one.text)
def test_every_key_of_a_headline_is_one_of_the_rules(headline):
    rules = EXPERIMENTS[headline.experiment].rules
    for key in headline.keys:
        one = Headline("", "", headline.experiment, (key,))
        assert one.rules(rules), f"{key!r} is none of {', '.join(rules)}"


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_rule_stands_under_one_headline(name):
    """None is left out because of what came of it, and none counts twice."""
    rules = EXPERIMENTS[name].rules
    told = [key for one in HEADLINES if one.experiment == name for key in one.rules(rules)]
    assert sorted(told) == sorted(rules)
    assert len({rule.claim for rule in rules.values()}) == len(rules), "claims are told by words"


def test_a_key_names_a_rule_or_all_that_begin_like_it():
    known = ["P1", "P10", "level: a", "level: b", "levels: c"]
    assert Headline("", "", "x", ("P1", "level: *")).rules(known) == ["P1", "level: a", "level: b"]
    assert not Headline("", "", "x", ("P2",)).rules(known)


def test_a_condition_is_what_tells_a_rule_from_its_neighbours():
    assert condition("per_step: lambda = 0.5, alpha = 1/L") == "lambda = 0.5, alpha = 1/L"
    assert condition("variance_head") == "variance head"
