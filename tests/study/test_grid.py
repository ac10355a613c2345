"""The grid, with real processes."""

import json

import pytest

from anil_tf.study import grid
from anil_tf.study.cell import Cell


def _cell(function, alone=False, **settings):
    return Cell(f"tests.study.fake_runs:{function}", settings, alone)


WHOLE = [_cell("rows", seed=seed, data_dir="/somewhere") for seed in (0, 1)]
FAILING, DYING = _cell("fail", seed=0), _cell("die", seed=0)
ALONE = _cell("whereabouts", alone=True, seed=0)


@pytest.fixture(scope="module")
def beside(tmp_path_factory):
    """Two cells that end only if both are under way."""
    folder = str(tmp_path_factory.mktemp("meeting"))
    return [_cell("meet", folder=folder, seeds=2, seed=seed) for seed in range(2)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, beside):
    """A grid in which one cell fails and one dies: its folder and what was said of the failures."""
    folder = tmp_path_factory.mktemp("grid") / "cells"
    cells = [ALONE, *beside, DYING, FAILING, *WHOLE, WHOLE[0]]
    with pytest.MonkeyPatch.context() as patch:  # where the user says nothing of threads
        patch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
        return folder, grid.run(cells, folder, workers=2, progress=False)


def test_rows_are_written_as_json_and_the_rest_goes_on_after_a_failure(finished, beside):
    folder, failed = finished
    assert set(failed) == {FAILING.name, DYING.name}
    content = grid.read(WHOLE[1], folder)
    assert content["settings"] == {"seed": 1}, "where the data lie is nobody's business"
    assert content["runner"] == WHOLE[1].runner and content["seconds"] >= 0
    assert content["rows"] == [
        {"step": 0, "loss": 1.0, "lost": None, "name": "start"},
        {"step": 9, "loss": 1 / 3, "lost": None, "name": "end"},
    ]
    names = {path.name for path in folder.iterdir()}
    assert names == {f"{cell.name}.json" for cell in [ALONE, *WHOLE, *beside]} | {
        f"{name}.failed.txt" for name in failed
    }


def test_a_failure_is_one_line_and_its_traceback_a_file(finished):
    folder, failed = finished
    assert failed[FAILING.name] == "ValueError: no such thing"
    assert "code 3" in failed[DYING.name]
    assert "Traceback" in (folder / f"{FAILING.name}.failed.txt").read_text()


def test_cells_run_side_by_side_on_a_thread_each_and_lone_ones_after_them(finished, beside):
    folder, _ = finished
    first, second = (grid.read(cell, folder)["rows"][0] for cell in beside)
    (alone,) = grid.read(ALONE, folder)["rows"]
    assert first["threads"] == second["threads"] == "1" != alone["threads"]
    assert len({first["process"], second["process"], alone["process"]}) == 3
    assert alone["time"] > max(first["time"], second["time"])


def test_finished_cells_are_not_run_again(finished):
    folder, _ = finished
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert grid.run([*WHOLE, ALONE], folder, progress=False) == {}
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert grid.is_finished(ALONE, folder) and not grid.is_finished(FAILING, folder)


def test_a_cell_that_failed_once_may_succeed_later(tmp_path):
    """And the report of its failure goes."""
    (tmp_path / f"{WHOLE[0].name}.failed.txt").write_text("It was raining.")
    assert grid.run([WHOLE[0]], tmp_path, progress=False) == {}
    assert [path.name for path in tmp_path.iterdir()] == [f"{WHOLE[0].name}.json"]
    json.loads((tmp_path / f"{WHOLE[0].name}.json").read_text())
