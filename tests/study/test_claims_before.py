"""The committed results, judged anew: every number and verdict is what it was before the study was rewritten."""

import json
import pathlib

import pytest

from anil_tf.study import claims, experiments, results

STUDY = pathlib.Path(__file__).resolve().parents[2] / "docs" / "study"
BEFORE = json.loads(pathlib.Path(__file__).with_name("claims_before.json").read_text())


def test_every_folder_of_the_study_is_compared():
    assert {path.parent.name for path in STUDY.glob("*/results.csv")} == set(BEFORE)


@pytest.mark.parametrize("folder", BEFORE)
def test_the_same_numbers_and_verdicts_as_before(folder, tmp_path):
    experiment = experiments.load(
        json.loads((STUDY / folder / "about.json").read_text())["experiment"]
    )
    frame = results.read(STUDY / folder / "results.csv")
    claims.write(
        [one.judge(frame) for one in experiment.claims], experiment.name, tmp_path / "claims.json"
    )
    rows = {row["key"]: row for row in json.loads((tmp_path / "claims.json").read_text())}
    assert set(rows) == set(BEFORE[folder])
    for key, before in BEFORE[folder].items():
        if (
            before["statistic"] is None
        ):  # not run, or nothing was learned: there is no number to compare
            assert rows[key]["statistic"] is None, key
        else:
            numbers = [rows[key]["statistic"], *rows[key]["interval"]]
            expected = [before["statistic"], *before["interval"]]
            assert numbers == pytest.approx(expected, rel=1e-12, abs=0), key
        assert (rows[key]["seeds"], rows[key]["verdict"]) == (before["seeds"], before["verdict"]), (
            key
        )
