"""CSV tables and the lines of a run."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from anil_tf.training import logs


def test_rows_after_the_checkpoint_are_dropped_and_written_again(tmp_path):
    path = tmp_path / "metrics.csv"
    table = logs.Table(str(path), ("epoch", "loss"))
    for epoch in (1, 2, 3):
        table.append({"epoch": epoch, "loss": 0.5 * epoch})
    again = logs.Table(str(path), ("epoch", "loss"))
    again.keep(2)
    assert path.read_text() == "epoch,loss\n1,0.5\n2,1\n"
    again.append({"epoch": 3, "loss": 1.5})
    assert path.read_text() == "epoch,loss\n1,0.5\n2,1\n3,1.5\n"


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float32_survives_the_file(value):
    assert np.float32(logs._shown(value)) == np.float32(value)


def test_durations():
    assert logs._duration(0) == "0:00:00"
    assert logs._duration(59.7) == "0:01:00"
    assert logs._duration(3 * 3600 + 61) == "3:01:01"
