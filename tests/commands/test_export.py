"""Exports a finished run: whole or not at all, measured, in every format, and what is refused."""

import importlib.util
import json
import runpy
import sys

import numpy as np
import pytest
from PIL import Image

from anil_tf.deploy import exported, measure, model_card, saved_model, temperature
from tests.command_line import refuse, start, succeed

FILES = {"client.py", "export.json", "model_card.md", "saved_model"}
UNMEASURED = ["--episodes=0", "--calibration_episodes=0"]


@pytest.fixture
def export(small_run, tmp_path):
    """Exports the small run to tmp_path/export; returns that directory and what was printed."""

    def make(*arguments):
        output = tmp_path / "export"
        where = [f"--run_dir={small_run.directory}", f"--output_dir={output}"]
        return output, succeed("export", *where, *arguments).output

    return make


def facts(output):
    return json.loads((output / "export.json").read_text())


def entries(folder):
    return {path.name for path in folder.iterdir()}


def read(paths):
    return np.stack([np.asarray(Image.open(path)) for path in paths])


def test_an_export_is_whole_and_says_how_good_it_is(small_export):
    output = small_export("saved_model")
    printed = output.with_suffix(".txt").read_text()
    assert entries(output) == FILES
    assert not list(output.parent.glob("*.partial")), "nothing unfinished stays behind"
    info, card = facts(output), (output / "model_card.md").read_text()
    assert info["format"] == "saved_model" and info["normalization"] == "support"
    assert info["image_shape"] == [16, 16, 3] and info["ways"] is None
    assert info["episodes"] == 21 and 0 < info["accuracy"] <= 1 and info["ci95"] > 0
    assert info["calibration"]["episodes"] == 10 and info["temperature"] != 1
    assert info["protocol"]["split"] == "test"
    assert info["protocol"]["normalization"] == "support"
    assert info["protocol"]["training_normalization"] == "episode"
    assert f"{100 * info['accuracy']:.2f}" in card and f"{100 * info['accuracy']:.2f}" in printed
    assert "trained under normalization `episode`" in card
    assert "python bin/export.py --run_dir=" in card, "what makes it again"
    assert "client.py" in printed and "bin/demo.py --export_dir=" in printed


def test_its_accuracy_is_what_evaluate_finds_under_support(small_export, small_run):
    where = f"--run_dir={small_run.directory}"
    evaluated = succeed("evaluate", where, "--episodes=21", "--normalization=support").result
    info = facts(small_export("saved_model"))
    assert info["accuracy"] == pytest.approx(evaluated["accuracy"], abs=1e-9)
    assert info["ci95"] == pytest.approx(evaluated["ci95"], abs=1e-9)


def test_its_client_names_the_classes_of_a_folder_as_the_export_does(
    small_export, small_run, capsys, monkeypatch
):
    output, images = small_export("saved_model"), small_run.images / "test"
    queries = sorted(images.glob("*/0.png"))
    monkeypatch.setattr(sys, "argv", ["client.py", str(images), *map(str, queries)])
    runpy.run_path(str(output / "client.py"), run_name="__main__")
    lines = capsys.readouterr().out.strip().splitlines()
    answers = [line.rpartition(": ")[2].split()[0] for line in lines]
    examples, names = sorted(images.glob("*/*.png")), [path.parent.name for path in queries]
    model = exported.load(output)
    state = model.adapt(read(examples), [names.index(path.parent.name) for path in examples])
    expected = model.predict(read(queries), state)
    assert answers == [names[c] for c in expected.argmax(axis=-1)]
    assert len(set(answers)) > 1


def test_other_settings_and_more_ways_than_there_are_validation_classes(export):
    arguments = ["--ways=6", "--shots=2", "--normalization=running", "--inner_steps=5"]
    output, printed = export(*arguments, "--episodes=2", "--calibration_episodes=2")
    info, protocol = facts(output), facts(output)["protocol"]
    assert info["normalization"] == protocol["normalization"] == "running"
    assert info["name"] == "image_folder, 6-way 2-shot"
    assert protocol["ways"] == 6 and protocol["inner_steps"] == 5
    assert {tensor["name"] for tensor in info["state"]} == {"kernel", "bias"}
    assert "2 validation episodes of 5 classes, as many as there are" in printed
    assert info["calibration"]["ways"] == 5
    assert "validation episodes of 5 classes" in (output / "model_card.md").read_text()


def test_episode_is_exported_only_by_force_and_nil_of_any_run(export, small_run, tmp_path):
    where = [f"--run_dir={small_run.directory}", f"--output_dir={tmp_path}/export"]
    said = "--normalization=episode: .*depend on the other"
    refuse(said, "export", *where, "--normalization=episode")
    sizes = ["--episodes=4", "--calibration_episodes=2"]
    output, printed = export("--normalization=episode", "--force", "--head=nil", *sizes)
    info = facts(output)
    assert info["signatures"] == ["adapt_and_predict", "embed"] and 0 < info["accuracy"] <= 1
    assert info["protocol"]["head"].startswith("nil")
    assert entries(output) == FILES - {"client.py"} and "client.py" not in printed
    card = (output / "model_card.md").read_text()
    assert "depends on the other images asked with it" in card


def test_a_meta_step_is_the_runs_whatever_is_typed(small_run, tmp_path, monkeypatch):
    """The learner keeps the run's normalisation, and the optimizer is that of the flags."""

    def check(learner, options):
        assert (learner.normalization, options.normalization) == ("episode", "running")
        step_sizes = options.optimizer(learner).step_sizes()
        assert step_sizes == pytest.approx({"body": 1e-3, "head": 0.25})
        raise ValueError("this is enough")

    monkeypatch.setattr(saved_model, "check", check)
    where = [f"--run_dir={small_run.directory}", f"--output_dir={tmp_path}/export"]
    given = ["--outer_step_size_head=0.25", "--normalization=running"]
    refuse("this is enough", "export", *where, *given)


def test_what_a_format_cannot_hold_is_refused_before_anything_slow(
    small_run, tmp_path, monkeypatch
):
    monkeypatch.setattr(temperature, "fit", lambda *_, **__: pytest.fail("calibrated"))
    where = [f"--run_dir={small_run.directory}", f"--output_dir={tmp_path}/export"]
    forced = ["--format=litert", "--normalization=episode", "--force"]
    refuse("--format=litert: LiteRT exports take", "export", *where, *forced)


def made_export(folder):
    """A directory that has what an export has, and no more."""
    info = {
        "format": "litert",
        "variants": {"float32": "model.tflite"},
        "files": {"float32": "model.tflite"},
        "image_shape": [16, 16, 3],
        "signatures": ["adapt", "predict"],
        "ways": None,
        "state": [],
    }
    folder.mkdir()
    (folder / "export.json").write_text(json.dumps(info))
    for name in ("model.tflite", "model_card.md", "client.py"):
        (folder / name).touch()
    return folder


@pytest.mark.parametrize("foreign", [{"notes.txt": "mine"}, {"export.json": "{}"}])
def test_overwrite_touches_nothing_that_is_no_export(small_run, tmp_path, foreign):
    output = made_export(tmp_path / "export")
    for name, text in foreign.items():
        (output / name).write_text(text)
    before = {path.name: path.read_text() for path in output.iterdir()}
    where = [f"--run_dir={small_run.directory}", f"--output_dir={output}"]
    said = f"--output_dir=.*files that are no export: .*{next(iter(foreign))}"
    refuse(said, "export", *where, "--overwrite", *UNMEASURED)
    assert {path.name: path.read_text() for path in output.iterdir()} == before
    assert entries(tmp_path) == {"export"}


def test_an_export_is_replaced_only_when_told_and_only_by_a_whole_one(
    small_run, tmp_path, monkeypatch
):
    output = made_export(tmp_path / "export")
    where = [f"--run_dir={small_run.directory}", f"--output_dir={output}", *UNMEASURED]
    refuse("holds an export; --overwrite", "export", *where)

    def fail(*_, **__):
        raise OSError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(model_card, "write", fail)
        answer = start("export", *where, "--overwrite")
        assert (answer.code, answer.error) == (1, "export.py: disk full\n")
    assert entries(tmp_path) == {"export"} and "model.tflite" in entries(output)
    succeed("export", *where, "--overwrite")
    assert entries(tmp_path) == {"export"} and entries(output) == FILES
    info, card = facts(output), (output / "model_card.md").read_text()
    assert info["accuracy"] is None and info["measured"] == {} and info["temperature"] == 1
    assert "Its accuracy was not measured" in card, "nothing is claimed"


def test_a_failure_of_the_measurement_is_not_put_down_to_the_format(
    small_run, tmp_path, monkeypatch
):
    def fail(*_, **__):
        raise ValueError("something else")

    monkeypatch.setattr(measure, "latency", fail)
    where = [f"--run_dir={small_run.directory}", f"--output_dir={tmp_path}/export"]
    answer = start("export", *where, "--episodes=2", "--calibration_episodes=0")
    assert (answer.code, answer.error) == (1, "export.py: something else\n")
    assert entries(tmp_path) == set()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--output_dir={new}"], "--run_dir: expected a run directory"),
        (["--run_dir={run}"], "--output_dir: expected a directory, received none"),
        (["--run_dir=/nowhere", "--output_dir={new}"], "--run_dir=/nowhere: expected"),
        (["--run_dir={run}", "--output_dir={run}", "--overwrite"], "files that are no export"),
        (["--run_dir={run}", "--output_dir={run}/card.md"], "a directory, received a file"),
        (["--run_dir={run}", "--output_dir={run}/card.md/x"], "cannot be made"),
        (["--run_dir={run}", "--output_dir={new}", "--filters=8"], "part of the trained model"),
        (["--run_dir={run}", "--output_dir={new}", "--inner_steps=auto"], "--inner_steps=auto"),
        (["--run_dir={run}", "--output_dir={new}", "--split_seed=1"], "--split_seed=1"),
        (["--run_dir={run}", "--output_dir={new}", "--ways=9"], "8 classes"),
    ],
    ids=str,
)
def test_bad_input_names_the_flag(small_run, tmp_path, arguments, said):
    places = {"run": small_run.directory, "new": tmp_path / "new"}
    answer = refuse(said, "export", *(argument.format(**places) for argument in arguments))
    assert entries(tmp_path) == set() and not answer.output


@pytest.mark.parametrize("format_name", ["litert", "stablehlo"])
def test_the_other_formats_are_measured_and_say_what_they_take(small_export, format_name):
    output = small_export(format_name)
    info, card = facts(output), (output / "model_card.md").read_text()
    printed = output.with_suffix(".txt").read_text()
    assert entries(output) == {*info["files"].values(), *FILES} - {"saved_model"}
    assert set(info["measured"]) == set(info["variants"])
    for found in info["measured"].values():
        assert found["episodes"] == 21 and 0 < found["accuracy"] <= 1
    assert max(info["facts"]["largest_difference"].values()) < 0.1
    learns = format_name == "litert"
    assert ("bin/demo.py" in printed) == learns and "client.py" in printed
    assert ("any height and width" in card) == learns
    assert ("of this size and no other; of examples there are 3 in all" in card) != learns
    if not learns:
        training = info["facts"]["training"]
        assert training["normalization"] == "episode" and training["meta_batch_size"] == 2
        assert "normalization `episode`, Adam of step size 0.001 for the body" in card


_NEEDS = {"saved_model": "tensorflow", "litert": "ai_edge_litert", "stablehlo": "jax"}


@pytest.mark.parametrize("format_name", _NEEDS)
def test_numbers_to_predict_have_no_client_and_a_card_of_their_own(
    format_name, sinusoid_run, tmp_path
):
    if importlib.util.find_spec(_NEEDS[format_name]) is None:
        pytest.skip(f"no {_NEEDS[format_name]} here, which exporting as {format_name} needs")
    output = tmp_path / "export"
    where = [f"--run_dir={sinusoid_run}", f"--output_dir={output}", f"--format={format_name}"]
    printed = succeed("export", *where, "--episodes=4").output
    info, card = facts(output), (output / "model_card.md").read_text()
    assert entries(output) == {*info["files"].values(), "export.json", "model_card.md"}
    assert info["mse"] > 0 and not info["classifies"]
    assert "client.py" not in printed + card and "bin/demo.py" not in printed
    for words in ("EXAMPLES", "uint8", "cats", "0..ways-1", "probabilit"):
        assert words not in card, words
    inputs = np.linspace(-5, 5, 5, dtype=np.float32)[:, None]
    answers = exported.load(output).adapt_and_predict(inputs, np.sin(inputs), inputs[:3])
    assert answers.shape == (3, 1) and np.isfinite(answers).all()
