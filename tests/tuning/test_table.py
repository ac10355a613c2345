import sys

import pytest

from anil_tf.tuning.table import Table
from tests.tuning.made_trials import SPACE, row

CLEAR = "\033[2J\033[H"


@pytest.fixture
def rows():
    """What the table reads; a test changes it."""
    return []


@pytest.fixture
def table(rows):
    return Table(lambda: list(rows), SPACE, lambda ended: f"{ended} have ended:")


def test_on_a_terminal_the_table_stays_in_its_place(rows, table, monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    table.update()
    assert capsys.readouterr().out == "", "there is nothing to show"
    rows[:] = [row(0, status="running")]
    table.update()
    shown = capsys.readouterr().out
    assert shown.startswith(f"{CLEAR}0 have ended:") and "0000   running" in shown
    table.update()
    assert capsys.readouterr().out == "", "nothing has changed"
    rows.insert(0, row(1))
    table.update()
    shown = capsys.readouterr().out
    assert shown.startswith(f"{CLEAR}1 have ended:") and shown.count(CLEAR) == 1
    assert table.show_all() and capsys.readouterr().out == "", "it stands there already"


def test_elsewhere_the_table_is_printed_when_a_trial_has_ended(rows, table, capsys):
    rows[:] = [row(0, status="running")]
    table.update()
    assert capsys.readouterr().out == ""
    rows.insert(0, row(1))
    table.update()
    table.update()
    shown = capsys.readouterr().out
    assert shown.startswith("1 have ended:") and shown.count("0001") == 1


def test_the_last_table_has_every_trial(rows, table, capsys):
    rows[:] = [row(number, 0.5 - number / 100) for number in range(12)]
    table.update()
    assert "and 2 more, in trials.csv" in capsys.readouterr().out
    assert len(table.show_all()) == 12
    shown = capsys.readouterr().out
    assert "0011" in shown and "more" not in shown
