"""Each command still has the flags that it had, with the same defaults and the same accepted values."""

import json
import pathlib

import pytest

from tests.compatibility.declared_flags import declared_flags

BEFORE = json.loads(pathlib.Path(__file__).with_name("flags_before.json").read_text("utf-8"))


@pytest.mark.parametrize("command", BEFORE)
@pytest.mark.parametrize("fact", ["default", "accepted"])
def test_flags_are_those_of_before(command, fact):
    before = {name: in_any_order(flag[fact]) for name, flag in BEFORE[command].items()}
    now = {name: in_any_order(flag[fact]) for name, flag in declared_flags(command).items()}
    assert {name: now.get(name, "no such flag") for name in before} == before


def in_any_order(fact):
    """What is accepted, without the order in which words to choose from are named."""
    words = fact.removeprefix("one of ") if isinstance(fact, str) else fact
    return sorted(words.split("|")) if words != fact else fact
