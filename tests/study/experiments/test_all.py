"""What holds for every experiment, on nothing and on the committed results."""

import json
import pathlib

import pytest

from anil_tf.study import experiments, markdown, results
from anil_tf.study.claims import NOT_RUN
from anil_tf.study.experiment import Data
from anil_tf.study.scale import SCALES

STUDY = pathlib.Path(__file__).resolve().parents[3] / "docs" / "study"
ALL = experiments.load_all()


def test_experiments_have_an_order_and_the_names_of_their_files():
    assert len({one.order for one in ALL}) == len(ALL)
    assert {one.name for one in ALL} == set(experiments.EXPERIMENTS)
    assert [one.name for one in ALL if not one.in_all] == ["advice"]


@pytest.mark.parametrize("experiment", ALL, ids=lambda one: one.name)
def test_claims_have_names_of_their_own_and_fit_a_cell(experiment):
    claims = experiment.claims
    assert len({claim.key for claim in claims}) == len(claims)
    assert len({claim.sentence for claim in claims}) == len(claims)
    for claim in claims:
        assert len(claim.sentence) <= 120, claim.key
        assert claim.sentence.endswith(".") and claim.words.endswith("."), claim.key


@pytest.mark.parametrize("experiment", ALL, ids=lambda one: one.name)
def test_every_scale_has_cells_with_runners_that_have_names(experiment):
    for scale in SCALES.values():
        cells = experiment.cells(scale, Data("fc100"))
        assert cells and all(cell.runner == cell.kind for cell in cells)


@pytest.mark.parametrize(
    "folder", sorted(path.parent for path in STUDY.glob("*/results.csv")), ids=lambda p: p.name
)
def test_committed_results_and_none_are_judged_drawn_and_tabulated(folder):
    experiment = experiments.load(json.loads((folder / "about.json").read_text())["experiment"])
    frame = results.read(folder / "results.csv")
    assert all(picture.panels(frame) for picture in experiment.pictures)
    for make in experiment.tables:
        text = markdown.frame_table(make(frame).frame)
        assert max(len(cell) for line in text.splitlines() for cell in line.split(" | ")) <= 120
    nothing = frame.head(0)
    assert {claim.judge(nothing).reason for claim in experiment.claims} == {NOT_RUN}
    assert not any(picture.panels(nothing) for picture in experiment.pictures)
    assert all(make(nothing) is None for make in experiment.tables)
