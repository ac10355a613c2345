"""Bad command lines end with the exit code and the line that they ended with before."""

import json
import pathlib
import shutil

import pytest

from tests.command_line import start

FOLDER = pathlib.Path(__file__).parent
BEFORE = json.loads((FOLDER / "messages_before.json").read_text("utf-8"))
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


@pytest.mark.parametrize("case", [case_of(row) for row in BEFORE])
def test_a_bad_command_line_ends_as_before(case, places):
    ended = start(case["command"], *(_placed(flag, places) for flag in case["flags"]))
    message = case["message"].replace("of this binary", "of this command")  # there is a console script
    assert (ended.code, ended.error.strip()) == (case["code"], _placed(message, places))


def _placed(text, places):
    for name, place in places.items():
        text = text.replace("{" + name + "}", str(place))
    return text
