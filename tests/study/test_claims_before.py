"""The committed results, judged anew: every number and verdict is what it was before the study was rewritten."""

import json
import pathlib

import pytest

from anil_tf.study import experiments, results

STUDY = pathlib.Path(__file__).resolve().parents[2] / "docs" / "study"
BEFORE = json.loads(pathlib.Path(__file__).with_name("claims_before.json").read_text())


def test_every_folder_of_the_study_is_compared():
    assert {path.parent.name for path in STUDY.glob("*/results.csv")} == set(BEFORE)


@pytest.mark.parametrize("folder", BEFORE)
def test_the_same_numbers_and_verdicts_as_before(folder, tmp_path):
    from anil_tf.study import claims

    about = json.loads((STUDY / folder / "about.json").read_text())
    experiment = experiments.EXPERIMENTS[about["experiment"]]
    found = experiment.judge(results.read(STUDY / folder / "results.csv"))
    claims.write(found, tmp_path / "claims.json")
    rows = json.loads((tmp_path / "claims.json").read_text())
    now = dict(zip(experiment.rules, rows, strict=True))
    for key, before in BEFORE[folder].items():
        numbers = [now[key]["statistic"], *now[key]["interval"]]
        expected = [before["statistic"], *before["interval"]]
        assert [n is None for n in numbers] == [n is None for n in expected], key
        present = [n for n in numbers if n is not None]
        assert present == pytest.approx([n for n in expected if n is not None], rel=1e-12), key
        assert (now[key]["seeds"], now[key]["verdict"]) == (before["seeds"], before["verdict"]), key
