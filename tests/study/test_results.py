"""The table of an experiment, and its way to disk and back."""

import math

import pandas as pd
import pytest

from anil_tf.study import grid, results
from anil_tf.study.cell import Cell

TRAINING = [
    Cell(
        "training.run",
        {
            "dataset": "fc100",
            "data_dir": "/somewhere",
            "adapted_layers": layers,
            "inner_steps": steps,
            "inner_step_size": size,
            "seed": seed,
        },
    )
    for layers, size in ((1, "1/L"), (2, 0.1), ("all", 0.1))
    for steps in (1, 5)
    for seed in (0, 1)
]
TIMING = [
    Cell(
        "timing.run",
        {"dataset": "fc100", "adapted_layers": layers, "inner_steps": steps, "seed": seed},
        alone=True,
    )
    for layers in (1, "all")
    for steps in (1, 5)
    for seed in (0, 1)
]


def _training_rows(settings):
    loss = 1 / 3 + settings["seed"]
    return [
        {"meta_step": 0, "loss": loss, "diverged": False},
        {"meta_step": 10, "loss": math.nan, "diverged": True},
    ]


def _timing_rows(settings):
    return [{"seconds_per_meta_step": settings["inner_steps"] * (1 + settings["seed"])}]


@pytest.fixture
def frame(tmp_path):
    """The table as it is read back from results.csv."""
    for cells, rows_of in ((TRAINING, _training_rows), (TIMING, _timing_rows)):
        for cell in cells:
            rows = [grid._plain(row) for row in rows_of(cell.settings)]
            grid._write(tmp_path, cell, {"rows": rows, "seconds": 1.0})
    path = tmp_path / "results.csv"
    results.write(results.collect([*TRAINING, *TIMING, TRAINING[0]], tmp_path), path)
    return results.read(path)


def test_a_row_has_its_cell_its_settings_and_its_values(frame):
    assert len(frame) == 2 * len(TRAINING) + len(TIMING), "each cell once"
    first = frame.iloc[0]
    assert (first["cell"], first["kind"]) == (TRAINING[0].name, "training.run")
    assert (first["inner_steps"], first["inner_step_size"], first["loss"]) == (1, "1/L", 1 / 3)
    assert "data_dir" not in frame


def test_numbers_and_words_come_back_as_what_they_were(frame):
    rows = results.rows_of(frame, "training.run")
    assert set(rows["adapted_layers"]) == {1, 2, "all"}
    assert set(rows["inner_step_size"]) == {"1/L", 0.1}
    assert set(rows["diverged"]) == {True, False}
    assert rows["diverged"].sum() == len(TRAINING)
    assert math.isnan(rows["loss"].iloc[1])


def test_rows_of_a_kind_have_no_foreign_columns_and_whole_numbers(frame):
    rows = results.rows_of(frame, "training.run", adapted_layers=(1, 2), inner_step_size="1/L")
    assert set(rows["adapted_layers"]) == {1}
    assert "seconds_per_meta_step" not in rows and list(rows.index) == list(range(8))
    for name in ("adapted_layers", "inner_steps", "meta_step", "seed"):
        assert pd.api.types.is_integer_dtype(rows[name]), name
    assert results.rows_of(frame, "nothing.run").empty
    assert "meta_step" in results.rows_of(frame, "training.run", seed=7)


def test_seconds_are_meta_steps_times_what_one_takes_alone(frame):
    timing = results.rows_of(frame, "timing.run")
    for chosen in ({}, {"adapted_layers": 1}):
        training = results.rows_of(frame, "training.run", **chosen)
        rows = results.with_seconds(training, timing)
        assert len(rows) == len(training)
        assert list(rows["meta_step"]) == list(training["meta_step"])
        one = rows[(rows["adapted_layers"] == 1) & (rows["meta_step"] == 10)]
        assert set(one["inner_steps"] * 15.0 - one["seconds"]) == {0}, "the median of both seeds"
    rows = results.with_seconds(results.rows_of(frame, "training.run"), timing)
    assert rows[rows["adapted_layers"] == 2]["seconds"].isna().all(), "nothing was timed"
    assert rows[rows["adapted_layers"] == "all"]["seconds"].notna().all()


def test_sizes_are_those_of_the_training_runs():
    rows = {
        "kind": ["training.run", "training.run", "timing.run"],
        "meta_steps": [20.0, 133.0, math.nan],
        "meta_batch_size": [2, 2, 8],
    }
    expected = {"meta_steps": "20 to 133", "tasks_in_a_meta_step": "2"}
    assert results.sizes(pd.DataFrame(rows)) == expected
    assert results.sizes(pd.DataFrame(rows).iloc[2:]) == {}, "no run trains"


def test_a_column_cannot_be_a_setting_too(tmp_path):
    cell = Cell("training.run", {"alpha": "1/L"})
    grid._write(tmp_path, cell, {"rows": [{"alpha": 0.1}], "seconds": 1.0})
    with pytest.raises(ValueError, match="alpha=0.1"):
        results.collect([cell], tmp_path)
