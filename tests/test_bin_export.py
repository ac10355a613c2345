"""Drives bin/train.py, bin/export.py and the exported client as a user would, on a few made images."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anil_tf import flags

ROOT = Path(__file__).resolve().parents[1]
EPISODES = 21
FILES = {"client.py", "export.json", "model_card.md", "saved_model"}


def binary(name, *arguments):
    command = [sys.executable, str(ROOT / "bin" / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """An image folder: every class is a pattern, seen through noise."""
    folder, random = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for split in ("train", "validation", "test"):
        for label in range(6):
            directory = folder / split / f"{split}{label}"
            directory.mkdir(parents=True)
            pattern = np.kron(random.uniform(0, 255, (4, 4)), np.ones((5, 5)))
            for number in range(8):
                noisy = np.clip(pattern + random.normal(0, 60, (20, 20)), 0, 255)
                Image.fromarray(noisy.astype(np.uint8)).save(directory / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def run_dir(images, tmp_path_factory):
    """A finished run of two meta-steps, trained under `episode`."""
    directory = tmp_path_factory.mktemp("runs") / "run"
    done = binary(
        "train.py",
        f"--run_dir={directory}",
        "--dataset=image_folder",
        f"--data_dir={images}",
        "--filters=4",
        "--head=prototype",
        "--ways=3",
        "--shots=2",
        "--queries=4",
        "--meta_batch_size=4",
        "--epochs=1",
        "--steps_per_epoch=2",
        "--validation_episodes=4",
        "--inner_steps=2",
    )
    assert done.returncode == 0, done.stderr
    return directory


@pytest.fixture(scope="module")
def exported_dir(run_dir):
    """What the binary makes of the run, and what it prints."""
    output = run_dir.parent / "export"
    done = binary(
        "export.py",
        f"--run_dir={run_dir}",
        f"--output_dir={output}",
        f"--episodes={EPISODES}",
        "--calibration_episodes=10",
    )
    assert done.returncode == 0, done.stderr
    return output, done.stdout


@pytest.fixture
def main(monkeypatch):
    """Calls the binary's main in this process: TensorFlow is imported here already."""
    monkeypatch.syspath_prepend(ROOT / "bin")
    from absl.testing import flagsaver

    script = importlib.import_module("export")
    flags.define(*script.GROUPS)

    def call(*arguments):
        with flagsaver.flagsaver():
            flags.FLAGS(["export.py", *map(str, arguments)])
            return script.main()

    return call


def facts(output):
    return json.loads((output / "export.json").read_text())


def entries(folder):
    return {path.name for path in folder.iterdir()}


def test_an_export_is_whole_and_says_how_good_it_is(exported_dir, run_dir):
    output, printed = exported_dir
    assert entries(output) == FILES
    assert entries(output.parent) == {"run", "export"}, "nothing unfinished stays behind"
    info = facts(output)
    assert info["format"] == "saved_model" and info["normalization"] == "support"
    assert info["image_shape"] == [20, 20, 1] and info["ways"] is None
    assert info["episodes"] == EPISODES and 0 < info["accuracy"] <= 1 and info["ci95"] > 0
    assert info["calibration"]["episodes"] == 10 and info["temperature"] != 1
    assert info["protocol"]["split"] == "test"
    assert info["protocol"]["normalization"] == "support"
    assert info["protocol"]["training_normalization"] == "episode"
    card = (output / "model_card.md").read_text()
    assert f"{100 * info['accuracy']:.2f}" in card and f"{100 * info['accuracy']:.2f}" in printed
    assert "trained under normalization `episode`" in card
    assert "client.py" in printed and "bin/demo.py --export_dir=" in printed


def test_its_accuracy_is_what_evaluate_finds_under_support(exported_dir, run_dir):
    done = binary(
        "evaluate.py", f"--run_dir={run_dir}", f"--episodes={EPISODES}", "--normalization=support"
    )
    assert done.returncode == 0, done.stderr
    evaluated = json.loads(done.stdout.splitlines()[-1])
    info = facts(exported_dir[0])
    assert info["accuracy"] == pytest.approx(evaluated["accuracy"], abs=1e-9)
    assert info["ci95"] == pytest.approx(evaluated["ci95"], abs=1e-9)


def test_the_client_names_the_classes_of_a_folder_as_the_export_does(exported_dir, images):
    from anil_tf.deploy import exported

    output, _ = exported_dir
    queries = sorted(images.glob("test/*/0.png"))
    command = [sys.executable, output / "client.py", images / "test", *queries]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    answers = [line.rpartition(": ")[2].split()[0] for line in done.stdout.strip().splitlines()]
    read = lambda paths: np.stack([np.asarray(Image.open(p))[..., None] for p in paths])  # noqa: E731
    examples, names = sorted(images.glob("test/*/*.png")), [path.parent.name for path in queries]
    labels = [names.index(path.parent.name) for path in examples]
    model = exported.load(output)
    expected = model.predict(read(queries), model.adapt(read(examples), labels))
    assert answers == [names[c] for c in expected.argmax(axis=-1)]
    assert len(set(answers)) > 1


def test_other_settings_than_the_runs(main, run_dir, tmp_path):
    arguments = ("--ways=4", "--shots=1", "--normalization=running", "--inner_steps=5")
    output = tmp_path / "new" / "export"
    assert not main(
        f"--run_dir={run_dir}",
        f"--output_dir={output}",
        "--episodes=4",
        "--calibration_episodes=0",
        *arguments,
    )
    info = facts(output)
    assert info["normalization"] == info["protocol"]["normalization"] == "running"
    assert info["name"] == "image_folder, 4-way 1-shot"
    assert info["protocol"]["inner_steps"] == 5
    assert info["temperature"] == 1 and {tensor["name"] for tensor in info["state"]} == {
        "kernel",
        "bias",
    }


def test_without_test_episodes_nothing_is_claimed(main, run_dir, tmp_path):
    output = tmp_path / "export"
    main(
        f"--run_dir={run_dir}", f"--output_dir={output}", "--episodes=0", "--calibration_episodes=2"
    )
    info = facts(output)
    assert info["accuracy"] is None and info["measured"] == {}
    assert "Its accuracy was not measured" in (output / "model_card.md").read_text()


def test_episode_is_exported_only_by_force(main, run_dir, tmp_path):
    arguments = (
        f"--run_dir={run_dir}",
        f"--output_dir={tmp_path / 'export'}",
        "--normalization=episode",
    )
    with pytest.raises(flags.InputError, match="--normalization=episode: .*depend on the other"):
        main(*arguments)
    main(*arguments, "--force", "--episodes=4", "--calibration_episodes=2")
    info = facts(tmp_path / "export")
    assert info["signatures"] == ["adapt_and_predict", "embed"] and 0 < info["accuracy"] <= 1
    assert entries(tmp_path / "export") == FILES - {"client.py"}
    assert (
        "depends on the other images asked with it"
        in (tmp_path / "export" / "model_card.md").read_text()
    )


def test_it_is_calibrated_on_all_validation_classes_where_there_are_fewer_than_ways(
    main, images, run_dir, tmp_path, capsys
):
    few = tmp_path / "images"
    for split, count in {"train": 6, "validation": 3, "test": 6}.items():
        (few / split).mkdir(parents=True)
        for label in range(count):
            (few / split / f"{split}{label}").symlink_to(images / split / f"{split}{label}")
    output = tmp_path / "export"
    main(
        f"--run_dir={run_dir}",
        f"--data_dir={few}",
        f"--output_dir={output}",
        "--ways=5",
        "--episodes=2",
        "--calibration_episodes=2",
    )
    assert "2 validation episodes of 3 classes, as many as there are" in capsys.readouterr().out
    info = facts(output)
    assert info["calibration"]["ways"] == 3 and info["protocol"]["ways"] == 5
    assert "validation episodes of 3 classes" in (output / "model_card.md").read_text()


@pytest.mark.parametrize("given", [(), ("--normalization=support",)])
def test_a_meta_step_is_the_runs_whatever_is_typed(main, run_dir, tmp_path, monkeypatch, given):
    """The learner keeps the run's normalisation, and the optimizer is that of the flags."""
    from anil_tf.deploy import saved_model

    seen = []

    def check(learner, options):
        seen.append((learner.normalization, options.normalization, options.optimizer(learner)))
        raise ValueError("this is enough")

    monkeypatch.setattr(saved_model, "check", check)
    with pytest.raises(flags.InputError, match="this is enough"):
        main(
            f"--run_dir={run_dir}",
            f"--output_dir={tmp_path / 'export'}",
            "--outer_step_size_head=0.25",
            *given,
        )
    ((trained, exported, optimizer),) = seen
    assert (trained, exported) == ("episode", "support")
    assert optimizer.step_sizes() == pytest.approx({"body": 1e-3, "head": 0.25})


def test_what_a_format_cannot_hold_is_refused_before_anything_slow(
    main, run_dir, tmp_path, monkeypatch
):
    from anil_tf.deploy import temperature

    monkeypatch.setattr(temperature, "fit", lambda *_, **__: pytest.fail("calibrated"))
    with pytest.raises(flags.InputError, match="--format=litert: LiteRT exports take"):
        main(
            f"--run_dir={run_dir}",
            f"--output_dir={tmp_path / 'export'}",
            "--format=litert",
            "--normalization=episode",
            "--force",
        )


def test_a_failure_of_the_measurement_is_not_blamed_on_the_format(
    main, run_dir, tmp_path, monkeypatch
):
    from anil_tf.deploy import measure

    def fail(*_, **__):
        raise ValueError("something else")

    monkeypatch.setattr(measure, "accuracy", fail)
    with pytest.raises(ValueError, match="^something else$") as error:
        main(
            f"--run_dir={run_dir}",
            f"--output_dir={tmp_path / 'export'}",
            "--episodes=2",
            "--calibration_episodes=0",
        )
    assert not isinstance(error.value, flags.InputError)


def test_nil_makes_an_export_of_any_run(main, run_dir, tmp_path):
    output = tmp_path / "export"
    main(
        f"--run_dir={run_dir}",
        f"--output_dir={output}",
        "--head=nil",
        "--episodes=2",
        "--calibration_episodes=0",
    )
    assert facts(output)["protocol"]["head"].startswith("nil")


def made_export(folder):
    """A directory that has what an export has, and no more."""
    info = {
        "format": "litert",
        "variants": {"float32": "model.tflite"},
        "files": {"float32": "model.tflite"},
        "image_shape": [20, 20, 1],
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
def test_overwrite_touches_nothing_that_is_no_export(main, run_dir, tmp_path, foreign):
    output = made_export(tmp_path / "export")
    for name, text in foreign.items():
        (output / name).write_text(text)
    before = {path.name: path.read_text() for path in output.iterdir()}
    with pytest.raises(
        flags.InputError, match="--output_dir=.*files that are no export: "
    ) as error:
        main(f"--run_dir={run_dir}", f"--output_dir={output}", "--overwrite", "--episodes=0")
    assert next(iter(foreign)) in str(error.value)
    assert {path.name: path.read_text() for path in output.iterdir()} == before
    assert entries(tmp_path) == {"export"}


def test_an_export_is_replaced_only_when_told_and_only_by_a_whole_one(
    main, run_dir, tmp_path, monkeypatch
):
    output = made_export(tmp_path / "export")
    arguments = (
        f"--run_dir={run_dir}",
        f"--output_dir={output}",
        "--episodes=0",
        "--calibration_episodes=0",
    )
    with pytest.raises(flags.InputError, match="holds an export; --overwrite"):
        main(*arguments)
    from anil_tf.deploy import model_card

    def fail(*_, **__):
        raise OSError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(model_card, "write", fail)
        with pytest.raises(OSError, match="disk full"):
            main(*arguments, "--overwrite")
    assert entries(tmp_path) == {"export"} and "model.tflite" in entries(output)
    main(*arguments, "--overwrite")
    assert entries(tmp_path) == {"export"} and entries(output) == FILES


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--output_dir={new}"], "--run_dir=: expected the directory of a run"),
        (["--run_dir=/nowhere", "--output_dir={new}"], "--run_dir=/nowhere: expected"),
        (["--run_dir={run}", "--output_dir={run}", "--overwrite"], "files that are no export"),
        (
            ["--run_dir={run}", "--output_dir={run}/card.md"],
            "expected a directory, received a file",
        ),
        (["--run_dir={run}", "--output_dir={run}/card.md/x"], "cannot be made"),
        (["--run_dir={run}", "--output_dir={new}", "--filters=8"], "part of the trained model"),
        (["--run_dir={run}", "--output_dir={new}", "--inner_steps=auto"], "--inner_steps=auto"),
        (["--run_dir={run}", "--output_dir={new}", "--split_seed=1"], "--split_seed=1"),
        (["--run_dir={run}", "--output_dir={new}", "--ways=9"], "6 classes"),
    ],
)
def test_bad_input_names_the_flag(main, run_dir, tmp_path, arguments, said):
    places = {"run": run_dir, "new": tmp_path / "new"}
    with pytest.raises(flags.InputError, match=said) as error:
        main(*(argument.format(**places) for argument in arguments))
    assert "\n" not in str(error.value)
    assert entries(tmp_path) == set()


# ---- Every format, by the binary -------------------------------------------------------------------------------------

_NEEDS = {"saved_model": "tensorflow", "litert": "ai_edge_litert", "stablehlo": "jax"}


def needs(format_name):
    if importlib.util.find_spec(_NEEDS[format_name]) is None:
        pytest.skip(f"no {_NEEDS[format_name]} here, which exporting as {format_name} needs")


@pytest.fixture(scope="module")
def sinusoid_run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("sinusoid") / "run"
    done = binary(
        "train.py",
        f"--run_dir={directory}",
        "--dataset=sinusoid",
        "--body=mlp",
        "--shots=5",
        "--queries=4",
        "--meta_batch_size=2",
        "--epochs=1",
        "--steps_per_epoch=2",
        "--validation_episodes=2",
        "--inner_step_size=0.01",
    )
    assert done.returncode == 0, done.stderr
    return directory


@pytest.mark.parametrize("format_name", ["litert", "stablehlo"])
def test_the_other_formats_are_measured_and_say_what_they_take(format_name, run_dir, tmp_path):
    needs(format_name)
    output = tmp_path / "export"
    done = binary(
        "export.py",
        f"--run_dir={run_dir}",
        f"--output_dir={output}",
        f"--format={format_name}",
        "--episodes=4",
        "--calibration_episodes=2",
    )
    assert done.returncode == 0, done.stderr
    info, card = facts(output), (output / "model_card.md").read_text()
    assert entries(output) == {*info["files"].values(), *FILES} - {"saved_model"}
    assert set(info["measured"]) == set(info["variants"])
    for found in info["measured"].values():
        assert found["episodes"] == 4 and 0 < found["accuracy"] <= 1
    assert max(info["facts"]["largest_difference"].values()) < 0.1
    learns = format_name == "litert"
    assert ("bin/demo.py" in done.stdout) == learns and "client.py" in done.stdout
    assert ("any height and width" in card) == learns
    assert ("of this size and no other; of examples there are 6 in all" in card) != learns
    if not learns:
        training = info["facts"]["training"]
        assert training["normalization"] == "episode" and training["meta_batch_size"] == 4
        assert "normalization `episode`, Adam of step size 0.001 for the body" in card


@pytest.mark.parametrize("format_name", _NEEDS)
def test_numbers_to_predict_have_no_client_and_a_card_of_their_own(
    format_name, sinusoid_run, tmp_path
):
    needs(format_name)
    from anil_tf.deploy import exported

    output = tmp_path / "export"
    arguments = (f"--run_dir={sinusoid_run}", f"--output_dir={output}", f"--format={format_name}")
    done = binary("export.py", *arguments, "--episodes=4")
    assert done.returncode == 0, done.stderr
    info, card = facts(output), (output / "model_card.md").read_text()
    assert entries(output) == {*info["files"].values(), "export.json", "model_card.md"}
    assert info["mse"] > 0 and not info["classifies"]
    assert "client.py" not in done.stdout + card and "bin/demo.py" not in done.stdout
    for words in ("EXAMPLES", "uint8", "cats", "0..ways-1", "probabilit"):
        assert words not in card, words
    inputs = np.linspace(-5, 5, 5, dtype=np.float32)[:, None]
    answers = exported.load(output).adapt_and_predict(inputs, np.sin(inputs), inputs[:3])
    assert answers.shape == (3, 1) and np.isfinite(answers).all()


def test_help_says_each_flag_once():
    done = binary("export.py", "--help")
    assert done.returncode == 0
    entries_of_it = [line for line in done.stdout.splitlines() if "  --normalization" in line]
    assert entries_of_it == ["  --normalization=support"], "what export.py does, not train.py"
    assert "--format=saved_model" in done.stdout
