"""Drives bin/train.py and bin/evaluate.py as a user would, on a few made images."""

import hashlib
import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anil_tf import flags

ROOT = Path(__file__).resolve().parents[1]
EPISODES = 21


def binary(name, *arguments):
    command = [sys.executable, str(ROOT / "bin" / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def evaluate(*arguments):
    done = binary("evaluate.py", f"--episodes={EPISODES}", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(done.stdout.splitlines()[-1])


def contents(directory):
    """A digest of every file by its path."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """An image folder: every class is a pattern, seen through noise."""
    folder, random = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for split in ("train", "validation", "test"):
        for label in range(8):
            directory = folder / split / f"{split}{label}"
            directory.mkdir(parents=True)
            pattern = np.kron(random.uniform(0, 255, (4, 4)), np.ones((7, 7)))
            for number in range(10):
                noisy = np.clip(pattern + random.normal(0, 60, (28, 28)), 0, 255)
                image = Image.fromarray(noisy.astype(np.uint8)).convert("RGB")
                image.save(directory / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def run_dir(images, tmp_path_factory):
    """A finished run of a few meta-steps, with a prototype head; training seed 3."""
    directory = tmp_path_factory.mktemp("runs") / "run"
    done = binary(
        "train.py",
        f"--run_dir={directory}",
        "--dataset=image_folder",
        f"--data_dir={images}",
        "--body=conv4",
        "--filters=4",
        "--head=prototype",
        "--ways=3",
        "--queries=4",
        "--meta_batch_size=4",
        "--epochs=1",
        "--steps_per_epoch=3",
        "--validation_episodes=4",
        "--inner_steps=2",
        "--seed=3",
        "--augment",
        "--mixed_precision",
        "--learned_inner_step_size=scalar",
        "--outer_step_size_head=0.01",
    )
    assert done.returncode == 0, done.stderr
    return directory


@pytest.fixture(scope="module")
def unadapted(run_dir):
    """A copy of the run whose learner takes no inner step."""
    return copy_with(run_dir, "unadapted", inner_steps=0)


@pytest.fixture(scope="module")
def free(run_dir):
    """A copy of the run whose head is free."""
    return copy_with(run_dir, "free", head_initialization="free")


def copy_with(run_dir, name, **changes):
    import keras

    import anil_tf.meta_learner  # noqa: F401  (registers it for loading)

    copy = run_dir.parent / name
    shutil.copytree(run_dir, copy)
    learner = keras.saving.load_model(copy / "model.keras", compile=False)
    learner.replace(**changes).save(copy / "model.keras")
    return copy


@pytest.fixture(scope="module")
def as_trained(run_dir):
    """What evaluate.py prints without further flags, and the files before and after."""
    before = contents(run_dir)
    stdout, result = evaluate(f"--run_dir={run_dir}")
    return stdout, result, before, contents(run_dir)


def test_the_last_line_is_the_result_with_its_protocol(as_trained):
    _, result, _, _ = as_trained
    assert result["episodes"] == EPISODES
    assert 0 < result["accuracy"] <= 1 and 0 < result["ci95"] < 0.2
    assert result["loss"] > 0 and 0 <= result["ece"] <= 1 and result["seconds"] > 0
    expected = {
        "split": "test",
        "ways": 3,
        "shots": 1,
        "queries": 4,
        "inner_steps": 2,
        "normalization": "episode",
        "episodes": EPISODES,
        "evaluation_seed": 0,
        "training_seed": 3,
        "training_ways": 3,
        "training_shots": 1,
        "training_queries": 4,
        "training_inner_steps": 2,
        "training_meta_batch_size": 4,
        "training_augment": "crop and flip",
        "training_epochs": 1,
    }
    assert expected.items() <= result["protocol"].items()
    assert result["protocol"]["inner_step_size"] != 0.1, "the learned value, not its start"
    assert {"commit", "hardware", "split_description", "checkpoint_rule"} <= set(result["protocol"])


def test_the_table_says_it_too(as_trained):
    stdout, result, _, _ = as_trained
    table = stdout.splitlines()[:-1]
    assert table[0].split()[:2] == ["accuracy", f"{100 * result['accuracy']:.2f}"]
    columns = [line.index("  ") for line in table if line]
    starts = {
        len(line) - len(line[cut:].lstrip())
        for line, cut in zip(filter(None, table), columns, strict=True)
    }
    assert len(starts) == 1  # aligned
    assert any(line.split() == ["training", "seed", "3"] for line in table)
    assert any(line.split() == ["evaluation", "seed", "0"] for line in table)


def test_the_body_computes_in_bfloat16_and_all_weights_are_float32(run_dir):
    import keras

    import anil_tf.meta_learner  # noqa: F401  (registers it for loading)

    learner = keras.saving.load_model(run_dir / "model.keras", compile=False)
    computed = {layer.compute_dtype for layer in learner.body._flatten_layers() if layer.weights}
    assert "bfloat16" in computed
    assert {variable.dtype for variable in learner.trainable_variables} == {"float32"}
    assert learner.head.compute_dtype == "float32"


def test_only_the_card_and_the_record_of_evaluations_change(as_trained):
    _, result, before, after = as_trained
    changed = {name for name in after if before.get(name) != after[name]}
    assert changed == {"card.md", "evaluations.jsonl"}
    assert set(before) <= set(after)


def test_the_card_shows_the_test_result(as_trained, run_dir):
    _, result, _, _ = as_trained
    title = (run_dir / "card.md").read_text(encoding="utf-8").splitlines()[0]
    assert f"{100 * result['accuracy']:.2f} ± {100 * result['ci95']:.2f} %" in title


def test_compare_uses_the_same_episodes(as_trained, run_dir, unadapted):
    _, first, _, _ = as_trained
    stdout, result = evaluate(f"--run_dir={run_dir}", f"--compare={unadapted}")
    assert result["accuracy"] == first["accuracy"]  # the same seed, the same episodes
    comparison = result["comparison"]
    assert comparison["episodes"] == EPISODES and comparison["ci95"] > 0
    assert comparison["difference"] == pytest.approx(result["accuracy"] - comparison["accuracy"])
    assert "paired difference" in stdout
    assert comparison["protocol"]["inner_steps"] == 0
    assert comparison["differing"] == ["inner_steps"]
    assert "protocols differ in" in stdout and stdout.count("inner steps\n") == 1


def test_other_ways_shots_queries_steps_and_normalization(run_dir):
    changes = {"ways": 6, "shots": 3, "queries": 5, "inner_steps": 7, "meta_batch_size": 2}
    trained = {"ways": 3, "shots": 1, "queries": 4, "inner_steps": 2, "meta_batch_size": 4}
    _, result = evaluate(
        f"--run_dir={run_dir}",
        "--split=validation",
        "--normalization=support",
        "--seed=9",
        *(f"--{name}={value}" for name, value in changes.items()),
    )
    expected = changes | {"split": "validation", "normalization": "support", "evaluation_seed": 9}
    assert expected.items() <= result["protocol"].items()
    assert result["protocol"]["training_seed"] == 3
    for name, value in trained.items():
        assert result["protocol"][f"training_{name}"] == value


def test_other_ways_of_a_free_head_are_one_line_and_exit_code_2(free):
    done = binary("evaluate.py", f"--run_dir={free}", "--ways=4")
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("evaluate.py: --ways=4: ") and "expected --ways=3" in line
    assert not done.stdout


def result_of(capsys):
    """The table and the JSON that main printed."""
    *table, last = capsys.readouterr().out.splitlines()
    return [" ".join(line.split()) for line in table], json.loads(last)


@pytest.mark.parametrize(("run", "ways"), [("free", 3), ("free", 6), ("run_dir", 6)])
def test_nil_evaluates_the_body_of_any_run_on_any_ways(main, request, capsys, run, ways):
    directory = request.getfixturevalue(run)
    preset = ROOT / "bin" / "presets" / "nil_at_test.flags"
    flags = [f"--flagfile={preset}", f"--run_dir={directory}", f"--ways={ways}", "--episodes=8"]
    assert main(*flags) == 0
    table, result = result_of(capsys)
    expected = {"head": "nil, 0 parameters", "ways": ways, "inner_steps": 0, "training_ways": 3}
    assert expected.items() <= result["protocol"].items()
    assert result["protocol"]["learned_inner_step_size"] == "none"
    assert {"head nil, 0 parameters", "inner steps 0", f"ways {ways}"} <= set(table)
    assert result["accuracy"] > 1 / ways  # patterns are told apart by any body


def test_a_run_trained_as_nil_leaves_the_head_of_the_other_run_alone(main, run_dir, capsys):
    nil = copy_with(run_dir, "nil", head_initialization="nil", learned_inner_step_size="none")
    settings = (nil / "flags.txt").read_text()
    (nil / "flags.txt").write_text(settings.replace("--head=prototype\n", "--head=nil\n"))
    assert main(f"--run_dir={nil}", f"--compare={run_dir}", "--episodes=4") == 0
    _, result = result_of(capsys)
    assert result["protocol"]["head"].startswith("nil")
    assert result["comparison"]["protocol"]["head"].startswith("prototype")
    assert "head" in result["comparison"]["differing"]


def test_the_strength_that_a_ridge_head_has_learned_is_not_for_the_command_line(main, run_dir):
    ridge = {"head_initialization": "ridge", "inner_l2": 1.0, "learned_inner_step_size": "none"}
    copy = copy_with(run_dir, "ridge", **ridge)
    with pytest.raises(flags.InputError, match=r"--inner_l2=0.5: .* has learned .* no value"):
        main(f"--run_dir={copy}", "--inner_l2=0.5", "--episodes=4")


@pytest.mark.parametrize("flag", ["--split=tset", "--episodes=0"])
def test_mistyped_flags_are_one_line_and_exit_code_2(flag):
    done = binary("evaluate.py", flag)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("evaluate.py: ") and flag.partition("=")[0] in line


@pytest.fixture
def main(monkeypatch):
    """Calls the binary's main in this process: TensorFlow is imported here already."""
    monkeypatch.syspath_prepend(ROOT / "bin")
    from absl.testing import flagsaver

    script = importlib.import_module("evaluate")
    flags.define(*script.GROUPS)

    def call(*arguments):
        with flagsaver.flagsaver():
            flags.FLAGS(["evaluate.py", *arguments])
            return script.main()

    call.script = script
    return call


def test_training_images_are_not_augmented_and_a_full_disk_costs_only_the_record(
    main, run_dir, tmp_path, capsys, monkeypatch
):
    copy = tmp_path / "run"
    shutil.copytree(run_dir, copy)
    (copy / "evaluations.jsonl").unlink(missing_ok=True)
    (copy / "evaluations.jsonl").mkdir()  # whoever may do anything cannot write here either
    tasks, drawn = main.script._tasks, []
    monkeypatch.setattr(main.script, "_tasks", lambda: drawn.append(tasks()) or drawn[0])
    assert main(f"--run_dir={copy}", "--split=train", "--episodes=4") == 0
    assert [one.augment for one in drawn] == [False]
    said = capsys.readouterr()
    assert json.loads(said.out.splitlines()[-1])["protocol"]["split"] == "train"
    warning = [line for line in said.err.splitlines() if "not recorded" in line]
    assert len(warning) == 1 and str(copy) in warning[0]


def test_deterministic_is_set_before_any_task_is_drawn(main, run_dir, monkeypatch):
    import tensorflow as tf

    class Drawn(Exception):
        pass

    def draw():
        raise Drawn

    called = []
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: called.append(1))
    monkeypatch.setattr(main.script, "_tasks", draw)
    with pytest.raises(Drawn):
        main(f"--run_dir={run_dir}", "--deterministic")
    assert called == [1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--run_dir=: expected the directory of a run"),
        (["--run_dir=/nowhere"], "--run_dir=/nowhere: expected the directory of a run"),
        (["--run_dir={run}", "--filters=64"], "--filters=64: part of the trained model"),
        (["--run_dir={run}", "--head=zero"], "--head=zero: part of the trained model"),
        (["--run_dir={run}", "--compare={run}/checkpoints"], "--compare=.*expected the directory"),
        (["--run_dir={unfinished}"], "expected a finished run.*train.py --flagfile="),
        (["--run_dir={extended}"], "being extended from --epochs=1 to --epochs=9; .*train.py"),
        (["--run_dir={run}", "--compare={extended}"], "--compare=.*being extended"),
        (["--run_dir={run}", "--split_seed=1"], "--split_seed=1: .*expected --split_seed=0"),
        (["--run_dir={run}", "--split_seed=1", "--data_dir=/nowhere"], "not a directory"),
        (["--run_dir={run}", "--ways=9"], "8 classes"),
        (["--run_dir={run}", "--dataset=imagefolder"], "image_folder"),
    ],
)
def test_bad_input_names_the_flag(main, run_dir, tmp_path, arguments, said):
    shutil.copy(run_dir / "flags.txt", tmp_path)
    extended = tmp_path / "extended"
    shutil.copytree(run_dir, extended)
    settings = (extended / "flags.txt").read_text()
    (extended / "flags.txt").write_text(settings.replace("--epochs=1\n", "--epochs=9\n"))
    places = {"run": run_dir, "unfinished": tmp_path, "extended": extended}
    with pytest.raises(flags.InputError, match=said) as error:
        main(*(argument.format(**places) for argument in arguments))
    assert "\n" not in str(error.value)
