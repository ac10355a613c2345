"""What a search shows and leaves, from the files of made trials."""

import json
import sys

import pytest

from anil_tf.flags import read_settings
from anil_tf.tuning import report
from anil_tf.tuning.objective import Score
from anil_tf.tuning.plots import StabilityLimit
from anil_tf.tuning.search_directory import SearchDirectory
from anil_tf.tuning.search_space import Interval, SearchSpace
from anil_tf.tuning.trials import Row
from tests.tuning.made_trials import EPISODES, SPACE, of, put

INNER_LOOP = SearchSpace(
    [Interval("inner_step_size", 0.01, 1.0), Interval("inner_steps", 1, 20, whole=True)]
)
CLEAR = "\033[2J\033[H"


@pytest.fixture
def directory(tmp_path):
    return SearchDirectory(tmp_path)


def write(directory):
    return report.write_tables(
        directory, SPACE, lambda values: [f"--{n}={v}" for n, v in values.items()]
    )


def table_of(directory):
    return report.Table(lambda: write(directory), SPACE, lambda ended: f"{ended} have ended:")


def row(name, status="done", accuracy=0.5):
    return Row(name, status, {"inner_step_size": 0.1, "inner_steps": 5}, accuracy, 0.01)


def measure(where, values, model):
    return StabilityLimit(where, 0.1, 0.2, 0.3, 0.2)


def test_the_best_setting_is_a_flagfile(directory):
    put(directory.path, "0000", "RUNNING")
    write(directory)
    assert not directory.file("best.flags").exists()
    put(directory.path, "0001", "COMPLETED", of(EPISODES))
    rows = write(directory)
    assert read_settings(directory.file("best.flags")) == {
        "inner_step_size": "--inner_step_size=0.02",
        "first_order": "--first_order=True",
    }
    head = directory.file("best.flags").read_text().splitlines()[0]
    assert "trial 0001" in head and head.endswith(report.score(rows[0]))


def test_on_a_terminal_the_table_stays_in_its_place(directory, monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    table = table_of(directory)
    table.update()
    assert capsys.readouterr().out == "", "there is nothing to show"
    put(directory.path, "0000", "RUNNING")
    table.update()
    shown = capsys.readouterr().out
    assert shown.startswith(f"{CLEAR}0 have ended:") and "0000   running" in shown
    table.update()
    assert capsys.readouterr().out == "", "nothing has changed"
    put(directory.path, "0001", "COMPLETED", of(EPISODES))
    table.update()
    shown = capsys.readouterr().out
    assert shown.startswith(f"{CLEAR}1 have ended:") and shown.count(CLEAR) == 1
    assert shown.index("0001") < shown.index("0000"), "best first"
    assert table.show_all() and capsys.readouterr().out == "", "it stands there already"


def test_elsewhere_the_table_is_printed_when_a_trial_has_ended(directory, capsys):
    table = table_of(directory)
    put(directory.path, "0000", "RUNNING")
    table.update()
    assert capsys.readouterr().out == ""
    put(directory.path, "0001", "COMPLETED", of(EPISODES))
    table.update()
    table.update()
    shown = capsys.readouterr().out
    assert shown.startswith("1 have ended:") and shown.count("0001") == 1


def test_the_last_table_has_every_trial(directory, capsys):
    for number in range(12):
        put(directory.path, f"{number:04d}", "COMPLETED", of(EPISODES - number / 100))
    table = table_of(directory)
    table.update()
    assert "and 2 more, in trials.csv" in capsys.readouterr().out
    assert len(table.show_all()) == 12
    shown = capsys.readouterr().out
    assert "0011" in shown and "more" not in shown


def test_the_landscape_is_measured_once_for_each_best_trial(directory):
    measured = []

    def noted(where, values, model):
        measured.append((where, model and model.parent.name))
        return measure(where, values, model)

    model = directory.runs / "0001" / "model.keras"
    model.parent.mkdir(parents=True)
    model.touch()
    for rows in ([row("0000")], [row("0000")], [row("0001"), row("0000", accuracy=0.4)]):
        report.draw(rows, directory, INNER_LOOP, noted)
    before = ("before training", None)
    assert measured == [before, before, ("after the best trial", "0001")]
    kept = json.loads(directory.file("landscape.json").read_text())
    assert kept["trial"] == "0001" and kept["limits"][0] == vars(
        measure("before training", {}, None)
    )


def test_a_landscape_that_fails_is_told_and_the_picture_drawn_without(directory, capsys):
    def fails(where, values, model):
        raise FloatingPointError("not\nfinite")

    report.draw([row("0000")], directory, INNER_LOOP, fails)
    error = capsys.readouterr().err
    assert error == "inner_loop.png lacks a stability limit: not finite\n"
    assert directory.file("inner_loop.png").exists()
    assert not directory.file("landscape.json").exists(), "it is tried again"


def test_trials_that_only_diverged_are_drawn_too(directory):
    report.draw([row("0000", "diverged", 0.2)], directory, INNER_LOOP, measure)
    assert directory.file("accuracy.png").exists() and directory.file("inner_loop.png").exists()


@pytest.mark.parametrize(
    "rows", [[], [row("0000", "failed", float("nan"))]], ids=["none", "failed"]
)
def test_without_a_score_there_is_nothing_to_draw(directory, rows):
    report.draw(rows, directory, INNER_LOOP, measure)
    assert list(directory.path.iterdir()) == []


def test_a_search_that_only_diverged_leaves_no_flags(directory):
    put(directory.path, "0000", "COMPLETED", Score(0.2, 0.0, True, 3, 4.0))
    assert write(directory)[0].status == "diverged"
    assert not directory.file("best.flags").exists()
