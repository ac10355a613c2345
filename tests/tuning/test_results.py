import csv

import pytest

from anil_tf.tuning import results, table
from anil_tf.tuning.score import Score
from tests.tuning.made_trials import EPISODES, SPACE, made, score_of


@pytest.fixture
def rows(tmp_path):
    sent_only = score_of(EPISODES[::-1] - 0.05)
    trials = [
        made("0004", "RUNNING", score_of(EPISODES), runs=tmp_path, is_sent=False),
        made("0000", "COMPLETED", score_of(EPISODES - 0.1), runs=tmp_path),
        made("0001", "COMPLETED", score_of(EPISODES), runs=tmp_path),
        made("0002", "COMPLETED", Score(0.2, 0.0, True, 3, 4.0), runs=tmp_path),
        made("0003", "FAILED"),
        made("0005", "COMPLETED", sent_only),
    ]
    return results.read(trials, tmp_path, SPACE)


def test_trials_are_read_best_first(rows):
    assert [(row.trial, row.status) for row in rows] == [
        ("0001", "done"),
        ("0005", "done"),
        ("0000", "done"),
        ("0002", "diverged"),
        ("0003", "failed"),
        ("0004", "running"),
    ]
    assert results.best(rows) is rows[0]
    assert rows[0].values == {"inner_step_size": 0.02, "first_order": True}
    assert rows[0].score.accuracy == EPISODES.mean(), "as it was written, not as it was sent"
    assert rows[1].score.accuracy == pytest.approx(EPISODES.mean() - 0.05, abs=1e-6)


def test_the_distance_to_the_best_is_paired(rows):
    (row,) = [row for row in rows if row.behind]
    assert row.trial == "0000" and row.behind.difference == pytest.approx(0.1)
    assert row.behind.ci95 == pytest.approx(0.0, abs=1e-12), "0.1 in each episode"
    assert row.score.ci95 > 0.01


def test_the_table_is_aligned_and_says_everything(rows):
    lines = table.text(rows, SPACE).splitlines()
    heads = "trial status accuracy % behind best epochs seconds inner_step_size first_order"
    assert " ".join(lines[0].split()) == heads
    assert lines[1].split()[:2] == ["0001", "done"] and lines[1].endswith("0.02          yes")
    assert "chance" in lines[4] and "diverged" in lines[4]
    assert len({line.rfind(" ±") for line in lines[1:4]} - {-1}) <= 2
    short = table.text(rows, SPACE, most=2).splitlines()
    assert short[:3] == table.text(rows[:2] + rows[-1:], SPACE).splitlines()[:3]
    assert "running" in short[3], "what runs is always shown"
    assert short[-1] == "and 3 more, in trials.csv"


def test_the_csv_reads_back(rows, tmp_path):
    results.write_csv(rows, SPACE, tmp_path / "trials.csv")
    with (tmp_path / "trials.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert [row["trial"] for row in read] == [row.trial for row in rows]
    assert float(read[0]["accuracy"]) == pytest.approx(EPISODES.mean())
    assert read[0]["behind"] == "" and float(read[2]["behind"]) == pytest.approx(0.1)
    assert (read[3]["status"], read[3]["ci95"]) == ("diverged", "0")
    assert read[0]["inner_step_size"] == "0.02" and read[0]["seconds"] == "61.7"


def test_without_trials_there_is_a_table_without_lines(tmp_path):
    assert results.read([], tmp_path, SPACE) == [] and results.best([]) is None
    assert len(table.text([], SPACE).splitlines()) == 1


def test_a_search_that_only_diverged_has_no_best(rows):
    assert results.best(rows[3:]) is None
