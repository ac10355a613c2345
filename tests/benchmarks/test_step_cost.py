"""The suite `step`: its arithmetic, its tables, and, marked slow, the whole of it at a tiny size."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks import step_cost
from benchmarks.step_cost import MAML_TIMES, MEMORY, TIMES, Ratio

ROOT = Path(__file__).parents[2]
MEASURED = ROOT / "benchmarks" / "measured" / "step.json"


def test_the_fastest_of_the_others_is_the_denominator_round_by_round():
    ratio = Ratio("key", "words", "tasks a", ("pytorch b", "pytorch c", "pytorch absent"), 1.0)
    times = {
        "tasks a": np.array([1.0, 2.0, 3.0]),
        "pytorch b": np.array([9.0, 9.0, 9.0]),
        "pytorch c": np.array([2.0, 2.0, 2.0]),
    }
    result = {"spread": {}, "compared": {}, "milliseconds": {}}
    step_cost._add_times(result, times, [ratio])
    assert result["key"] == 1.0
    assert result["spread"]["key"] == {"lower_quartile": 0.75, "upper_quartile": 1.25, "repeats": 3}
    assert result["compared"]["key"] == ["tasks a", "pytorch c"]
    assert result["milliseconds"] == {"tasks a": 2.0, "pytorch b": 9.0, "pytorch c": 2.0}


def made_up(value):
    keys = [ratio.key for ratio in (*TIMES, *MAML_TIMES, *MEMORY)] + ["input_share"]
    spread = {"lower_quartile": value, "upper_quartile": value, "repeats": 3}
    return dict.fromkeys(keys, value) | {"spread": dict.fromkeys(keys, spread)}


def test_the_table_says_what_is_met_and_what_is_not():
    assert "NOT MET" not in step_cost.table(made_up(0.01))
    lines = step_cost.table(made_up(1.10)).splitlines()
    not_met = {line.split("`")[1] for line in lines if "NOT MET" in line}
    bounded = {r.key for r in (*TIMES, *MAML_TIMES, *MEMORY) if not math.isinf(r.at_most)}
    assert not_met == bounded - {"n50_over_n1_time"} | {"input_share"}
    assert len({len(line) for line in lines}) == 1  # aligned


def test_what_needs_pytorch_says_so_where_there_is_none():
    result = made_up(0.01)
    result["anil_over_pytorch"] = None
    (line,) = (x for x in step_cost.table(result).splitlines() if "`anil_over_pytorch`" in x)
    assert "not measured: no PyTorch" in line and "met" not in line.split("|")[-2]


def test_the_readme_shows_what_was_measured():
    """Every line of the table in benchmarks/README.md comes from the committed file."""
    result = json.loads(MEASURED.read_text())
    readme = (ROOT / "benchmarks" / "README.md").read_text()
    assert step_cost.table(result) in readme
    assert step_cost.times_table(result) in readme
    assert result["commit"][:7] in readme


@pytest.mark.slow
def test_the_whole_suite_at_a_tiny_size():
    result = step_cost.measure(
        pytorch=None,
        rounds=2,
        maml_rounds=1,
        sizes={"tasks": 2, "filters": 4, "side": 16},
        input_sizes={
            "meta_batch_size": 2,
            "side": 16,
            "filters": 4,
            "classes": 6,
            "images_per_class": 16,
            "batches": 2,
            "repeats": 2,
        },
    )
    result = json.loads(json.dumps(result))
    assert result["anil_over_pytorch"] is None and result["maml_over_pytorch"] is None
    for key in ("anil_over_supervised", "n50_over_n1_time", "n50_over_n1_memory", "input_share"):
        spread = result["spread"][key]
        assert 0 < spread["lower_quartile"] <= result[key] <= spread["upper_quartile"]
    assert {"hardware", "versions", "commit"} <= set(result)
    assert "not measured" in step_cost.sentence(result)
