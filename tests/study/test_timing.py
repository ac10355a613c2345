"""What a timing cell returns; the times themselves are for an idle machine."""

import pytest

from anil_tf.study import timing


@pytest.mark.parametrize("alpha", [0.1, "1/L"])
def test_a_step_and_an_adaptation_are_timed_with_their_quartiles(tiny, alpha):
    del tiny["meta_steps"], tiny["checkpoints"], tiny["evaluation_tasks"]
    (row,) = timing.run(tiny | {"repeats": 5, "inner_step_size": alpha})
    for name in ("seconds_per_meta_step", "seconds_per_adaptation"):
        assert 0 < row[f"{name}_low"] <= row[name] <= row[f"{name}_high"] < 10


def test_warm_ups_do_not_count(tiny, monkeypatch):
    clock = iter([0, 100, 100, 200, 200, 300, 300, 301, 301, 303, 303, 306])
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(clock))

    (row,) = timing.in_rounds([{"seconds": lambda: None}], 3)
    assert row == {"seconds": 2, "seconds_low": 1.5, "seconds_high": 2.5}
