"""Bad command lines end with their exit code and their one line."""

import json
import pathlib
import shutil

import pytest

from tests.command_line import start

FOLDER = pathlib.Path(__file__).parent
CASES = json.loads((FOLDER / "messages.json").read_text("utf-8"))
RUNS = {name: name for name in ("finished", "stopped", "ridge", "first_order")} | {
    "free": "resumed"
}
EXPORTS = {"export": "saved_model", "program": "stablehlo"}
STUDY = FOLDER.parents[1] / "docs" / "study"


def case_of(row):
    # What is found while flags are parsed needs no TensorFlow, and so no patience.
    marks = () if row["found"] == "while parsing" else pytest.mark.slow
    return pytest.param(row, id=" ".join([row["command"], *row["flags"][-2:]]), marks=marks)


@pytest.fixture(scope="session")
def places(artifacts, tmp_path_factory):
    """The directories that the command lines name in braces."""
    root = tmp_path_factory.mktemp("messages")
    (root / "empty").mkdir()
    (root / "no_run").mkdir()
    (root / "no_run" / "x.txt").write_text("x")
    (root / "a_file").write_text("x")
    for name, run in RUNS.items():
        shutil.copytree(artifacts / "runs" / run, root / name)
    for name, format in EXPORTS.items():
        shutil.copytree(artifacts / "exports" / format, root / name)
    shutil.copytree(STUDY / "predictions", root / "study" / "predictions")
    return {"tmp": root} | {name: root / name for name in [*RUNS, *EXPORTS, "study"]}


@pytest.mark.parametrize("case", [case_of(row) for row in CASES])
def test_a_bad_command_line_is_answered_in_one_line(case, places):
    ended = start(case["command"], *(_placed(flag, places) for flag in case["flags"]))
    assert (ended.code, ended.error.strip()) == (case["code"], _placed(case["message"], places))


def _placed(text, places):
    for name, place in places.items():
        text = text.replace("{" + name + "}", str(place))
    return text
