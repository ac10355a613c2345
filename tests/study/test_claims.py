import json
import math

import numpy as np
import pytest

from anil_tf.study import claims
from anil_tf.study.claims import Claim, Rule
from anil_tf.study.statistics import Interval

KEYS = ["experiment", "claim", "rule", "statistic", "interval", "seeds", "verdict"]
RULE = Rule("More steps are faster.", "The slope over seeds is below 0.", "slope", "nats")


def a_claim(**changes):
    claim = RULE.claimed("strongly_convex", Interval(-0.3, -0.5, -0.1, 3), claims.SUPPORTED)
    return Claim(**{**{key: getattr(claim, key) for key in KEYS}, **changes})


def test_the_file_is_a_list_with_exactly_the_keys_of_the_contract(tmp_path):
    claims.write([a_claim(), a_claim(verdict="inconclusive")], tmp_path / "claims.json")
    rows = json.loads((tmp_path / "claims.json").read_text())
    assert [list(row) for row in rows] == [KEYS, KEYS]
    assert rows[0] == {
        "experiment": "strongly_convex",
        "claim": "More steps are faster.",
        "rule": "The slope over seeds is below 0.",
        "statistic": -0.3,
        "interval": [-0.5, -0.1],
        "seeds": 3,
        "verdict": "supported",
    }


def test_a_number_that_could_not_be_measured_is_strict_json(tmp_path):
    lost = a_claim(statistic=math.nan, interval=(-math.inf, math.inf), verdict=claims.INCONCLUSIVE)
    claims.write([lost], tmp_path / "claims.json")
    text = (tmp_path / "claims.json").read_text()
    row = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))[0]
    assert row["statistic"] is None and row["interval"] == [None, None]


def test_numbers_of_numpy_are_written_as_numbers(tmp_path):
    claim = a_claim(
        statistic=np.float32(0.5), interval=(np.float64(0), np.float64(1)), seeds=np.int64(3)
    )
    claims.write([claim], tmp_path / "claims.json")
    row = json.loads((tmp_path / "claims.json").read_text())[0]
    assert (row["statistic"], row["interval"], row["seeds"]) == (0.5, [0.0, 1.0], 3)


def test_a_verdict_that_no_rule_gives_is_refused():
    with pytest.raises(ValueError, match="'strongly_convex'.*supported.*received 'maybe'"):
        a_claim(verdict="maybe")


def test_only_what_is_inconclusive_has_a_reason():
    why = RULE.claimed("e", Interval(0.1, -1, 1, 3), claims.INCONCLUSIVE, "q^20 = 0.97")
    assert why.reason == "q^20 = 0.97"
    with pytest.raises(ValueError, match="expected none for the verdict 'supported'"):
        a_claim(reason="q^20 = 0.97")


def test_the_reason_is_for_readers_alone(tmp_path):
    claims.write([a_claim(verdict="inconclusive", reason="q^20 = 0.97")], tmp_path / "claims.json")
    assert list(json.loads((tmp_path / "claims.json").read_text())[0]) == KEYS


def test_every_verdict_has_its_own_mark():
    assert set(claims.MARKS) == set(claims.VERDICTS)
    assert len(set(claims.MARKS.values())) == 3
