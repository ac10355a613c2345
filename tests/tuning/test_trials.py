import csv
import math

import pytest

from anil_tf.tuning import trials
from anil_tf.tuning.objective import Score
from tests.tuning.made_trials import EPISODES, SPACE, of, put


@pytest.fixture
def rows(tmp_path):
    put(tmp_path, "0000", "COMPLETED", of(EPISODES - 0.1))
    put(tmp_path, "0001", "COMPLETED", of(EPISODES))
    put(tmp_path, "0002", "COMPLETED", Score(0.2, 0.0, True, 3, 4.0))
    put(tmp_path, "0003", "FAILED")
    put(tmp_path, "0004", "RUNNING", of(EPISODES), sent=False)
    put(tmp_path, "0005", "COMPLETED", of(EPISODES[::-1] - 0.05), sent="only")
    return trials.read(tmp_path / "search", tmp_path / "trials", SPACE)


def test_trials_are_read_best_first(rows):
    assert [(row.name, row.status) for row in rows] == [
        ("0001", "done"),
        ("0005", "done"),
        ("0000", "done"),
        ("0002", "diverged"),
        ("0003", "failed"),
        ("0004", "running"),
    ]
    assert trials.best(rows) is rows[0]
    assert rows[0].values == {"inner_step_size": 0.02, "first_order": True}
    assert rows[0].accuracy == EPISODES.mean(), "as it was written, not as it was sent"
    assert rows[1].accuracy == pytest.approx(EPISODES.mean() - 0.05, abs=1e-6)


def test_the_distance_to_the_best_is_paired(rows):
    behind = next(row for row in rows if row.name == "0000")
    assert behind.behind == pytest.approx(0.1)
    assert behind.behind_ci95 == pytest.approx(0.0, abs=1e-12), "0.1 in each episode"
    assert behind.ci95 > 0.01
    assert all(math.isnan(row.behind) for row in rows if row.name != "0000")


def test_the_table_is_aligned_and_says_everything(rows):
    lines = trials.table(rows, SPACE).splitlines()
    heads = "trial status accuracy % behind best epochs seconds inner_step_size first_order"
    assert " ".join(lines[0].split()) == heads
    assert lines[1].split()[:2] == ["0001", "done"] and lines[1].endswith("0.02          yes")
    assert "chance" in lines[4] and "diverged" in lines[4]
    ends = {line.rfind(" ±") for line in lines[1:4]}
    assert len(ends - {-1}) <= 2
    short = trials.table(rows, SPACE, most=2).splitlines()
    assert short[:3] == trials.table(rows[:2] + rows[-1:], SPACE).splitlines()[:3]
    assert "running" in short[3], "what runs is always shown"
    assert short[-1] == "and 3 more, in trials.csv"


def test_the_csv_reads_back(rows, tmp_path):
    trials.write_csv(rows, SPACE, tmp_path / "trials.csv")
    with (tmp_path / "trials.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert [row["trial"] for row in read] == [row.name for row in rows]
    assert float(read[0]["accuracy"]) == pytest.approx(EPISODES.mean())
    assert read[0]["behind"] == "" and float(read[2]["behind"]) == pytest.approx(0.1)
    assert (read[3]["status"], read[3]["ci95"]) == ("diverged", "0")
    assert read[0]["inner_step_size"] == "0.02"


def test_without_trials_there_is_a_table_without_lines(tmp_path):
    assert trials.read(tmp_path, tmp_path, SPACE) == []
    assert trials.best([]) is None
    assert len(trials.table([], SPACE).splitlines()) == 1


def test_a_search_that_only_diverged_has_no_best(tmp_path):
    put(tmp_path, "0000", "COMPLETED", Score(0.2, 0.0, True, 3, 4.0))
    rows = trials.read(tmp_path / "search", tmp_path / "trials", SPACE)
    assert trials.best(rows) is None and rows[0].status == "diverged"
