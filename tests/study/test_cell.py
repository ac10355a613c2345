"""Cells and their names."""

import json
import pickle

import pytest

from anil_tf.study.cell import RUNNERS, Cell

RUNNER = "tests.study.fake_runs:rows"


def test_a_name_is_what_the_cell_is_and_nothing_else():
    cell = Cell(RUNNER, {"seed": 1, "filters": 8, "data_dir": "/here"})
    assert cell.name == Cell(RUNNER, {"filters": 8, "seed": 1, "data_dir": "/there"}).name
    assert cell.name == pickle.loads(pickle.dumps(cell)).name
    others = [
        Cell(RUNNER, {"seed": 2, "filters": 8}),
        Cell(RUNNER, {"seed": "1", "filters": 8}),
        Cell(RUNNER, {"seed": 1}),
        Cell("tests.study.fake_runs:fail", {"seed": 1, "filters": 8}),
        Cell(RUNNER, {"seed": 1, "filters": 8}, alone=True),
    ]
    assert len({one.name for one in [cell, *others]}) == 6
    assert cell.name.startswith("fake_runs.rows-") and cell.kind == "fake_runs.rows"


def test_equal_cells_are_one():
    cells = [Cell(RUNNER, {"seed": seed}) for seed in (0, 1, 0)]
    assert cells[0] == cells[2] != cells[1]
    assert len(set(cells)) == 2


def test_settings_cannot_be_changed_afterwards():
    settings = {"seed": 0}
    cell = Cell(RUNNER, settings)
    settings["seed"] = 1
    assert cell.settings == {"seed": 0}


def test_it_runs_its_runner():
    first, last = Cell(RUNNER, {"seed": 3}).run()
    assert (first["loss"], last["loss"]) == (3, 1)


@pytest.mark.parametrize("runner", ["no_colon", ":run", "module:"])
def test_a_runner_has_a_module_and_a_function(runner):
    with pytest.raises(ValueError, match="package.module:function"):
        Cell(runner, {})


@pytest.mark.parametrize("value", [(1, 2), [1], {"a": 1}, 1j])
def test_settings_are_scalars(value):
    with pytest.raises(ValueError, match="inner_steps"):
        Cell(RUNNER, {"inner_steps": value})
    assert json.dumps(Cell(RUNNER, {"inner_steps": 1}).settings)


def test_every_runner_that_has_a_name_exists():
    for name in RUNNERS:
        assert callable(Cell(name, {}).function()), name
        assert Cell(name, {}).kind == name


def test_a_cell_keeps_its_name_wherever_its_runner_is(monkeypatch):
    before = Cell("training.run", {"seed": 0}).name
    monkeypatch.setitem(RUNNERS, "training.run", "elsewhere:run")
    assert Cell("training.run", {"seed": 0}).name == before
