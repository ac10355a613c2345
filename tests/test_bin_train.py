"""The real bin/train.py on a small folder of images: files, exit codes, stop and resume."""

import csv
import importlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile

import numpy as np
import PIL.Image
import pytest
from absl.testing import flagsaver

from anil_tf.flags import FLAGS, InputError, define

FILES = {
    "flags.txt",
    "metrics.csv",
    "timing.csv",
    "tensorboard",
    "checkpoints",
    "model.keras",
    "curves.png",
    "episodes.png",
    "card.md",
}


def _start(repository, *arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "bin/train.py", *arguments],
        cwd=repository,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _wait_for_a_state(folder):
    """Waits until a run has begun and saved its first state."""
    deadline = time.monotonic() + 120
    while not (folder / "checkpoints" / "checkpoint").exists() and time.monotonic() < deadline:
        time.sleep(0.1)


def _train(repository, *arguments):
    """Runs the binary to its end; returns (exit code, output, error)."""
    process = _start(repository, *arguments)
    output, error = process.communicate(timeout=300)
    return process.returncode, output, error


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    """Flags of a small run on a folder of made images."""
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    for split in ("train", "validation", "test"):
        for name in "abcd":
            pattern = random.integers(0, 256, [16, 16, 3])
            (folder / split / name).mkdir(parents=True)
            for number in range(5):
                noise = random.integers(-60, 61, [16, 16, 3])
                image = np.clip(pattern + noise, 0, 255).astype(np.uint8)
                PIL.Image.fromarray(image).save(folder / split / name / f"{number}.png")
    return [
        "--dataset=image_folder",
        f"--data_dir={folder}",
        "--ways=3",
        "--training_ways=4",
        "--queries=2",
        "--meta_batch_size=2",
        "--filters=4",
        "--inner_steps=2",
        "--head=prototype",
        "--normalization=support",
        "--epochs=2",
        "--steps_per_epoch=30",
        "--validation_episodes=4",
        "--weight_averaging=0.9",
        "--schedule=cosine",
    ]


@pytest.fixture(scope="module")
def run(repository, flags, tmp_path_factory):
    """An uninterrupted run: its directory and what it said."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    code, output, error = _train(repository, *flags, f"--run_dir={folder}")
    assert code == 0, error
    return folder, output, error


def _weights(folder):
    """The weights in model.keras, as bytes."""
    with zipfile.ZipFile(folder / "model.keras") as archive:
        return archive.read("model.weights.h5")


def _loaded_weights(folder):
    """The same as arrays: of two runs in one process, which number their layers on, the bytes differ."""
    import keras

    return keras.saving.load_model(folder / "model.keras", compile=False).get_weights()


def test_a_run_leaves_its_files_and_says_what_it_reached(run):
    folder, output, error = run
    assert {path.name for path in folder.iterdir()} >= FILES
    lines = output.splitlines()
    assert "4-way 1-shot" in lines[0], "training tasks have ways of their own"
    assert sum(line.startswith("epoch ") for line in lines) == 2
    assert all("episodes/s" in line for line in lines if line.startswith("epoch "))
    assert "bin/evaluate.py" in lines[-1]
    assert error == "", "no noise on a terminal that is none"
    rows = (folder / "metrics.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["epoch", "1", "2"]
    assert list((folder / "tensorboard").rglob("*.tfevents*.episode"))


def test_a_stopped_run_exits_75_and_the_same_command_ends_it_exactly(
    run, repository, flags, tmp_path
):
    folder = tmp_path / "stopped"
    process = _start(repository, *flags, f"--run_dir={folder}", "--overwrite")
    _wait_for_a_state(folder)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 75, error
    assert "of 60; saved in" in error
    assert len(error.strip().splitlines()) == 1
    assert "flags.txt goes on" in error, "with --overwrite, the same command does not"
    assert not (folder / "model.keras").exists()
    code, output, error = _train(repository, f"--flagfile={folder}/flags.txt")
    assert code == 0, error
    assert "Going on" in output
    assert (folder / "metrics.csv").read_text() == (run[0] / "metrics.csv").read_text()
    assert _weights(folder) == _weights(run[0])


def test_a_finished_run_says_so(run, repository, flags):
    folder, _, _ = run
    before = {path: os.stat(path).st_mtime_ns for path in folder.rglob("*")}
    code, output, _ = _train(repository, *flags, f"--run_dir={folder}")
    assert code == 0
    assert "finished" in output
    assert {path: os.stat(path).st_mtime_ns for path in folder.rglob("*")} == before


def test_other_flags_on_a_run_are_refused(run, repository, flags):
    code, _, error = _train(repository, *flags, f"--run_dir={run[0]}", "--ways=2")
    assert code == 2
    assert len(error.strip().splitlines()) == 1
    assert "--ways=3" in error and "--ways=2" in error


def test_training_ways_need_a_head_that_takes_any(repository, flags, tmp_path):
    code, _, error = _train(repository, *flags, "--head=free", f"--run_dir={tmp_path}/run")
    assert code == 2
    assert "--training_ways=4" in error and len(error.strip().splitlines()) == 1


def test_a_loss_that_is_not_finite_ends_in_one_line_and_the_run_can_be_overwritten(
    repository, tmp_path
):
    small = ["--dataset=sinusoid", "--body=mlp", "--shots=5", "--steps_per_epoch=3"]
    small += [f"--run_dir={tmp_path}/run"]
    code, _, error = _train(repository, *small, "--inner_step_size=1e12")
    assert code == 1
    assert len(error.strip().splitlines()) == 1
    for words in ("meta-step 1", "inner_step_size=1e+12", "state-0"):
        assert words in error
    again = ["--epochs=1", "--overwrite", "--jit_compile=on"]
    code, output, error = _train(repository, *small, *again)
    assert code == 0, error
    assert output.startswith("Deleting the run in ")
    assert "--inner_step_size=0.1\n" in (tmp_path / "run" / "flags.txt").read_text()
    assert (tmp_path / "run" / "model.keras").exists()


@pytest.fixture
def main(repository, monkeypatch):
    """Calls the binary's main in this process, where TensorFlow need not be imported again."""
    monkeypatch.syspath_prepend(repository / "bin")
    script = importlib.import_module("train")
    define(*script.GROUPS)

    def call(*arguments):
        with flagsaver.flagsaver():
            FLAGS(["train.py", *arguments])
            return script.main()

    return call


ONE_STEP = ["--epochs=1", "--steps_per_epoch=2", "--validation_episodes=2", "--adapted_layers=1"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            ["--differentiation=implicit", "--inner_l2=0.5"],
            ["inner steps: to the minimum", "geometry: strongly convex"],
        ),
        (
            ["--differentiation=truncated", "--truncated_to=1", "--adapted_layers=2"],
            ["meta gradient: truncated to the last 1 of 2 inner steps", "geometry: nonconvex"],
        ),
        (["--head=ridge", "--inner_l2=1"], ["inner steps: none", "head: ridge, 2 parameters"]),
    ],
    ids=lambda words: words[0],
)
def test_algorithms_train(main, flags, tmp_path, capsys, settings, said):
    assert main(*flags, *ONE_STEP, *settings, f"--run_dir={tmp_path}/run") == 0
    output = capsys.readouterr().out
    for words in said:
        assert words in output
    with (tmp_path / "run" / "metrics.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert 0 < float(row["loss"]) < 10
    assert (tmp_path / "run" / "model.keras").exists()


AUTOMATIC = ["--inner_step_size=auto", "--inner_steps=auto"]


def test_an_automatic_inner_loop_is_measured_once_and_then_numbers(
    main, repository, flags, tmp_path, capsys, monkeypatch
):
    """The run that goes on, and the run that is given its numbers, end alike; nothing is measured for them."""
    small = [*flags, *ONE_STEP, "--training_ways=3", "--head=free", "--schedule=constant"]
    folder, given = tmp_path / "automatic", tmp_path / "given"
    assert main(*small, *AUTOMATIC, f"--run_dir={folder}") == 0
    output = capsys.readouterr().out
    advice = json.loads((folder / "advice.json").read_text())
    assert f"automatic: {advice['reason']}" in output
    assert "from a head of zeros" in advice["reason"], "not from the random rows of a free one"
    assert 0.001 < advice["inner_step_size"] < 10 and 1 <= advice["inner_steps"] <= 100
    numbers = [f"--{name}={advice[name]}" for name in ("inner_step_size", "inner_steps")]
    lines = (folder / "flags.txt").read_text().splitlines()
    assert set(numbers) <= set(lines) and not set(AUTOMATIC) & set(lines)

    def measure(*arguments, **options):
        raise AssertionError("measured anew")

    monkeypatch.setattr("anil_tf.theory.advice.measure", measure)
    assert main(*small, *AUTOMATIC, "--epochs=2", f"--run_dir={folder}") == 0
    output = capsys.readouterr().out
    assert "Going on" in output and f"automatic: {advice['reason']}" in output
    assert f"| automatic | {advice['reason']} |" in (folder / "card.md").read_text()
    assert main(f"--flagfile={folder}/flags.txt", "--epochs=2", f"--run_dir={given}") == 0
    assert "automatic: " not in capsys.readouterr().out, "given as numbers"
    assert (given / "metrics.csv").read_text() == (folder / "metrics.csv").read_text()
    np.testing.assert_equal(*[_loaded_weights(path) for path in (given, folder)])

    with pytest.raises(InputError, match="received --inner_step.*=auto"):
        main(*small, *AUTOMATIC, "--epochs=2", f"--run_dir={given}")
    assert main(f"--flagfile={folder}/flags.txt", "--epochs=1", "--overwrite") == 0
    assert not (folder / "advice.json").exists(), "these numbers were given"

    evaluate = importlib.import_module("evaluate")
    define(*evaluate.GROUPS)
    with flagsaver.flagsaver():
        FLAGS(["evaluate.py", f"--run_dir={given}", "--split=test", "--episodes=4"])
        assert evaluate.main() == 0
    protocol = json.loads(capsys.readouterr().out.splitlines()[-1])["protocol"]
    assert [protocol["inner_step_size"], protocol["inner_steps"]] == [
        advice["inner_step_size"],
        advice["inner_steps"],
    ]
    with flagsaver.flagsaver():
        FLAGS(["evaluate.py", f"--run_dir={given}", "--inner_steps=auto"])
        with pytest.raises(InputError, match="--inner_steps=auto: measured where training begins"):
            evaluate.main()


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        (["--inner_step_size=auto", "--inner_steps=3", "--head=prototype"], {"inner_step_size"}),
        (["--inner_step_size=0.05", "--inner_steps=auto", "--head=zero"], {"inner_steps"}),
        (
            [*AUTOMATIC, "--adapted_layers=2", "--head=prototype"],
            {"inner_step_size", "inner_steps"},
        ),
        (
            [*AUTOMATIC, "--normalization=running", "--learned_inner_step_size=per_variable"],
            {"inner_step_size", "inner_steps"},
        ),
    ],
    ids=lambda words: " ".join(sorted(words)),
)
def test_either_number_may_be_automatic_and_with_any_head(main, flags, tmp_path, settings, kept):
    assert main(*flags, *ONE_STEP, *settings, f"--run_dir={tmp_path}/run") == 0
    advice = json.loads((tmp_path / "run" / "advice.json").read_text())
    assert advice.keys() == kept | {"reason"}
    if "inner_step_size" in kept:
        assert 0.001 < advice["inner_step_size"] < 10, "also where there are no moving averages yet"
    with (tmp_path / "run" / "metrics.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert 0 < float(row["loss"]) < 10


def test_a_first_order_run_goes_on_from_its_flags(main, flags, tmp_path, capsys):
    """Which name --first_order beside the differentiation that it stands in for."""
    run = [*flags, *ONE_STEP, "--schedule=constant", f"--run_dir={tmp_path}/run"]
    assert main(*run, "--first_order") == 0
    assert "meta gradient: first order" in capsys.readouterr().out
    assert main(f"--flagfile={tmp_path}/run/flags.txt", "--epochs=2") == 0
    output = capsys.readouterr().out
    assert "meta gradient: first order" in output and "epoch 2/2" in output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--differentiation=implicit"], "--differentiation=implicit.*needs inner_l2 > 0"),
        (
            ["--differentiation=implicit", "--inner_l2=1", "--adapted_layers=2"],
            "--adapted_layers=2.*takes a head of one linear layer",
        ),
        (
            ["--differentiation=implicit", "--inner_l2=1", "--learned_inner_step_size=scalar"],
            "--learned_inner_step_size=scalar.*which no step size moves",
        ),
        (["--head=ridge"], "--head=ridge.*needs inner_l2 > 0"),
        (["--head=ridge", "--inner_l2=1", "--frozen_in_adaptation=head"], "leaves a ridge head"),
        (["--head=nil"], "--head=nil.*needs classes"),  # these are numbers
        (["--truncated_to=2"], "--truncated_to=2.*go together"),
        (
            ["--head=ridge", "--inner_l2=1", "--inner_steps=auto"],
            "--inner_steps=auto: --head=ridge .*closed form.*expected a number",
        ),
        (["--head=nil", "--inner_step_size=auto"], "--inner_step_size=auto: --head=nil .*"),
        (
            ["--strategy=multi_worker", "--inner_steps=auto"],
            "--inner_steps=auto: with --strategy=multi_worker .*expected a number",
        ),
        (
            ["--differentiation=implicit", "--inner_l2=1", "--inner_step_size=auto"],
            "--inner_step_size=auto: --differentiation=implicit .*expected a number",
        ),
        (["--first_order", "--differentiation=truncated"], "--first_order: .*one of the two"),
    ],
    ids=str,
)
def test_settings_that_contradict_each_other_are_named(main, tmp_path, arguments, said):
    small = ["--dataset=sinusoid", "--body=mlp", "--filters=4", "--shots=5"]
    with pytest.raises(InputError, match=said) as error:
        main(*small, *arguments, f"--run_dir={tmp_path}/run")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def _free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


@pytest.mark.slow
def test_two_machines_begin_afresh_stop_together_and_go_on(run, repository, flags, tmp_path):
    folder = tmp_path / "together"
    shutil.copytree(run[0], folder)

    def start_both(*more):
        workers = [f"127.0.0.1:{_free_port()}", f"127.0.0.1:{_free_port()}"]
        return [
            _start(
                repository,
                *flags,
                "--strategy=multi_worker",
                f"--run_dir={folder}",
                *more,
                TF_CONFIG=json.dumps(
                    {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
                ),
            )
            for index in range(2)
        ]

    stopped = start_both("--overwrite")
    while (folder / "model.keras").exists() and all(one.poll() is None for one in stopped):
        time.sleep(0.1)
    _wait_for_a_state(folder)
    stopped[1].send_signal(signal.SIGTERM)  # which reaches one of them only
    for process in stopped:
        _, error = process.communicate(timeout=200)
        assert process.returncode == 75, error
        assert "of 60; saved in" in error.strip().splitlines()[-1]
    for number, process in enumerate(start_both()):
        output, error = process.communicate(timeout=200)
        assert process.returncode == 0, error
        assert ("Going on" in output) == (number == 0), "one of them speaks"
    tables = []
    for path in (folder, run[0]):
        with (path / "metrics.csv").open() as file:
            tables.append(list(csv.DictReader(file)))
    together, alone = tables
    assert [row["epoch"] for row in together] == ["1", "2"]
    # The meta-steps are those of one machine; rounding grows with every one of them.
    assert float(together[0]["loss"]) == pytest.approx(float(alone[0]["loss"]), rel=1e-2)
    assert {path.name for path in folder.iterdir()} == {path.name for path in run[0].iterdir()}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ["--run_dir"]),
        (["--dataset=fc1000"], ["--dataset=fc1000", "fc100"]),
        (
            ["--dataset=sinusoid", "--body=mlp", "--head=zero", "--notrain_body"],
            ["--head=zero --adapted_layers=1 --notrain_body: nothing to train"],
        ),
        (
            ["--dataset=sinusoid", "--body=mlp", "--adapted_layers=all", "--mixed_precision"],
            ["--mixed_precision", "--adapted_layers=all"],
        ),
        (
            ["--dataset=sinusoid", "--body=mlp", "--differentiation=truncated"],
            ["--differentiation=truncated", "go together", "truncated_to=None"],
        ),
    ],
)
def test_bad_input_is_named(repository, tmp_path, arguments, expected):
    where = [f"--run_dir={tmp_path}/run"] if arguments else []
    code, _, error = _train(repository, *arguments, *where)
    assert code == 2
    assert len(error.strip().splitlines()) == 1
    for words in expected:
        assert words in error
    assert not (tmp_path / "run").exists()
