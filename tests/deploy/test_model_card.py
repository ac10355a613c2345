"""export.json and the card say what was measured, and what was not."""

import json

import numpy as np
import pytest

from anil_tf.deploy import formats, manifest, model_card
from anil_tf.deploy.temperature import Temperature
from anil_tf.evaluation import Evaluation
from tests.deploy.learners import learner_of, regression_learner

PROTOCOL = {
    "dataset": "fc100",
    "split": "test",
    "split_description": "20 classes",
    "ways": 5,
    "shots": 5,
    "queries": 15,
    "normalization": "support",
    "training_normalization": "episode",
    "hardware": {"cpu": "A fast one", "cores": 2},
    "software": {"keras": "3.15"},
    "commit": "1f0c2e",
}
TIMES = {"median": 7.0, "quartiles": [6.5, 7.5], "calls": 50}
LATENCY = {"images": 25, "load": TIMES} | {
    name: {"cold": TIMES | {"median": 90.0}, "warm": TIMES}
    for name in ("adapt", "predict", "adapt_and_predict")
}


def evaluation(regression=False):
    numbers = np.array([0.4, 0.5, 0.6, 0.5])
    accuracies = None if regression else numbers
    return Evaluation(accuracies, numbers, None if regression else 0.021, 3.0, "somewhere")


def facts(tmp_path, learner=None, measured=True, normalization="support", ways=None, **changes):
    (tmp_path / "saved_model").write_bytes(b"0" * 2**20)
    regression = learner is not None
    learner = learner or learner_of("prototype")
    state = (formats.StateTensor("kernel", (4, None), "float32"),)
    written = formats.Written(
        {"float32": "saved_model"}, state=state, ways=ways, limits=("A limit.",), **changes
    )
    info = manifest.describe(
        "saved_model",
        written,
        learner,
        formats.Options(normalization, 1.25, 5, 5, 15),
        directory=tmp_path,
        temperature=Temperature() if regression else Temperature(1.25, 200, 5, 0.1, 0.02),
    )
    evaluations = {"float32": evaluation(regression)} if measured else {}
    return manifest.with_results(
        info,
        protocol=PROTOCOL | ({"ways": 1} if regression else {}),
        evaluations=evaluations,
        latencies={"float32": LATENCY} if measured else {},
        preview={"channels": 1, "ink": None},
    )


def render(info):
    return model_card.render(info, usage="Use it.", command="python bin/export.py --run_dir=DIR")


def test_the_facts_have_what_programs_rely_on(tmp_path):
    info = facts(tmp_path)
    manifest.write(tmp_path, info)
    read = json.loads((tmp_path / "export.json").read_text())
    assert read["format"] == "saved_model" and read["files"] == {"float32": "saved_model"}
    assert read["image_shape"] == [16, 16, 1]
    assert read["ways"] is None and read["examples"] is None
    assert read["normalization"] == "support" and read["temperature"] == 1.25
    assert read["state"] == [{"name": "kernel", "shape": [4, None], "dtype": "float32"}]
    assert read["accuracy"] == 0.5 and read["calibration_error"] == 0.021
    assert read["ci95"] == pytest.approx(1.96 * np.std([0.4, 0.5, 0.6, 0.5], ddof=1) / 2)
    assert read["latency_ms"]["adapt"]["warm"]["median"] == 7.0
    assert read["size_bytes"] == {"float32": 2**20}
    assert read["protocol"] == PROTOCOL
    assert (read["versions"], read["commit"]) == (PROTOCOL["software"], "1f0c2e")


def test_the_card_says_what_it_is_worth_and_how_it_is_used(tmp_path):
    text = render(facts(tmp_path))
    assert text.startswith("# fc100, 5-way 5-shot, as saved_model\n")
    for words in (
        "**50.00 ± 8.00 %** (95 % interval) over 4 test episodes",
        "measured on the exported file, normalization `support`",
        "Expected calibration error 2.10 %",
        "Use it.",
        "| `kernel` | [4, ways] | float32 |",
        "7 (6.5 to 7.5); first 90",
        "1.00 MiB",
        "Temperature 1.250, fitted on 200 validation episodes of 5 classes",
        "`adapt` takes the examples, `predict` answers",
        "uint8 [n, height, width, 1], pixels 0..255, of any height and width",
        "from 10.00 % to 2.00 %",
        "trained under normalization `episode`",
        "* A limit.",
        "ways: 2 or more",
        "python bin/export.py --run_dir=DIR",
    ):
        assert words in text, words


def test_what_was_not_measured_is_not_claimed(tmp_path):
    text = render(facts(tmp_path, measured=False))
    assert "**Its accuracy was not measured.**" in text
    assert "±" not in text and "Latency" not in text


def test_a_free_head_and_episode_are_limits(tmp_path):
    text = render(facts(tmp_path, normalization="episode", ways=5))
    assert "takes exactly 5 classes" in text and "ways: exactly 5" in text
    assert "**an answer depends on the other images asked with it" in text


def test_a_program_of_fixed_sizes_says_so_throughout(tmp_path):
    (tmp_path / "shared.npz").write_bytes(b"0" * 2**19)
    (tmp_path / "more.mlir").write_bytes(b"0" * 2**21)
    info = facts(
        tmp_path,
        ways=3,
        examples=6,
        signatures=("adapt_and_predict",),
        files={"variables": "shared.npz", "more": "more.mlir"},
        shared=("variables",),
    )
    assert info["size_bytes"] == {"float32": 2**20 + 2**19}, "what the answers need, and no more"
    text = render(info)
    assert "of this size and no other; of examples there are 6 in all" in text
    assert "`adapt_and_predict` takes the examples and what is asked, and answers" in text
    assert "| adapt and predict |" in text and "1.50 MiB" in text
    for words in ("any height", "resized", "stretched", "`adapt`", "`predict`"):
        assert words not in text, words


def test_a_regression_speaks_of_outputs_and_errors(tmp_path):
    text = render(facts(tmp_path, regression_learner()))
    assert "mean squared error 0.5000" in text and "outputs" in text
    assert "calibrat" not in text.replace("calibration error", "") and "probabilit" not in text


@pytest.mark.parametrize(("level", "ink"), [(220, "dark_on_light"), (20, "light_on_dark")])
def test_a_drawing_has_to_look_like_the_data(level, ink):
    class Drawn:
        image_shape, regression = (8, 8, 1), False

        def batch(self, step):
            return {"support_images": np.full((1, 3, 8, 8, 1), level, np.uint8)}, None

    assert manifest.preview(Drawn()) == {"channels": 1, "ink": ink}
    Drawn.image_shape = (8, 8, 3)
    assert manifest.preview(Drawn()) == {"channels": 3, "ink": None}
