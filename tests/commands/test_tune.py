"""`anil_tf tune` in this process: one small real search, stopped and gone on with; all else with trials of no time."""

import contextlib
import csv
import dataclasses
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import PIL.Image
import pytest

from anil_tf import tuning
from anil_tf.commands import launcher, program, trial, tune
from anil_tf.commands.train import train
from anil_tf.config import InputError, Train, Tune, flagfile, flags
from anil_tf.config.errors import EXIT_STOPPED
from anil_tf.tuning import search_space
from anil_tf.tuning.score import Score
from anil_tf.tuning.search import Trial
from anil_tf.tuning.search_directory import SearchDirectory

FILES = {
    "flags.txt",
    "search",
    "trials",
    "trials.csv",
    "best.flags",
    "accuracy.png",
    "inner_loop.png",
    "landscape.json",
}
POOLING_ADAPTS = ["--body=conv4", "--adapted_layers=2", "--normalization=running"]
RANGES = ["--search_inner_step_size=0.01:1", "--search_inner_steps=1:4"]


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    """Flags of small trainings on a folder of made images."""
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
        "--queries=2",
        "--meta_batch_size=2",
        "--body=mlp",
        "--filters=4",
        "--inner_steps=3",
        "--head=prototype",
        "--normalization=support",
        "--epochs=4",
        "--trial_epochs=3",
        "--steps_per_epoch=4",
        "--validation_episodes=20",
        "--tuner=random",
    ]


@pytest.fixture
def config(options, tmp_path):
    """Makes the config of a command line; results go to tmp_path/s unless it says otherwise."""

    def make(*more):
        line = [*options, f"--output_dir={tmp_path / 's'}", *more]
        return flags.read_command_line(Tune, line).config

    return make


@pytest.fixture
def trained(monkeypatch):
    """Has trials trained by a function from their folder to a score, in no time."""

    def use(function):
        def instead(trials, folder, trial):
            folder.mkdir(parents=True, exist_ok=True)
            return function(folder)

        monkeypatch.setattr(trial.Trials, "_train", instead)

    return use


def _rows(folder):
    with (folder / "trials.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _wait_for(path):
    deadline = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# ---- A real search ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def search(options, tmp_path_factory):
    """A search with Hyperband that was stopped in its first trial, and went on: its folder and what it printed."""
    folder = tmp_path_factory.mktemp("searches") / "one"
    line = [*options, *RANGES, "--tuner=hyperband", "--trials=4", f"--output_dir={folder}"]
    command = flags.read_command_line(Tune, line)

    def stop():
        _wait_for(folder / "trials" / "0000" / "checkpoints" / "checkpoint")
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=stop, daemon=True).start()
    error, output = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(error):
        code = launcher.run("tune", command)
    assert code == EXIT_STOPPED, error.getvalue()
    assert error.getvalue().endswith("The same command goes on.\n")
    assert len(error.getvalue().splitlines()) == 1
    with contextlib.redirect_stdout(output):
        tune.tune(command.config)
    return folder, output.getvalue()


def test_a_search_leaves_its_files_and_a_table_best_first(search):
    folder, output = search
    assert {path.name for path in folder.iterdir()} == FILES
    rows = _rows(folder)
    assert {row["trial"] for row in rows} == {"0000", "0001", "0002", "0003"}
    assert {row["status"] for row in rows} == {"done"}
    accuracies = [float(row["accuracy"]) for row in rows]
    assert accuracies == sorted(accuracies, reverse=True)
    assert all(float(row["ci95"]) > 0 for row in rows)
    first = next(row for row in rows if row["trial"] == "0000")
    assert (first["inner_step_size"], first["inner_steps"]) == ("0.1", "3"), "as the flags say"
    lines = output.splitlines()
    assert lines[-1].startswith(f"Next: {program.command('train')} --flagfile=")
    assert rows[0]["trial"] in lines[-2] and "±" in lines[-2]


def test_a_trial_is_a_run_that_its_flags_repeat(search):
    folder = search[0] / "trials" / "0000"
    run = flagfile.read(Train, folder / "flags.txt")
    assert (run.run_dir, run.epochs, run.inner_steps) == (str(folder), 3, 3)
    assert {"metrics.csv", "timing.csv", "model.keras", "tensorboard", "score.json"} < {
        path.name for path in folder.iterdir()
    }


def test_hyperband_goes_on_with_its_best_trial(search):
    states = [json.loads(path.read_text()) for path in search[0].glob("search/*/trial.json")]
    values = {state["trial_id"]: state["hyperparameters"]["values"] for state in states}
    longer = {name: each for name, each in values.items() if "tuner/trial_id" in each}
    assert longer
    for name, each in longer.items():
        short = (search[0] / "trials" / each["tuner/trial_id"] / "metrics.csv").read_text()
        long = (search[0] / "trials" / name / "metrics.csv").read_text()
        assert long.startswith(short) and len(long) > len(short)


def test_best_flags_repeat_the_best_trial_at_full_length(search, tmp_path):
    """The trial was a training as `train` does it, stops or not: the same numbers, digit by digit."""
    folder = search[0]
    best = _rows(folder)[0]
    config = flagfile.read(Train, folder / "best.flags", run_dir=str(tmp_path / "run"))
    assert str(config.inner_step_size) == best["inner_step_size"]
    assert str(config.inner_steps) == best["inner_steps"] and config.epochs == 4
    text = (folder / "best.flags").read_text()
    tuned = f"# The best of 4 trials by {program.command('tune')}: trial {best['trial']}, "
    assert text.startswith(tuned)
    assert "\n--run_dir=" not in text and "\n--epochs=4\n" in text
    train(config)
    trial = (folder / "trials" / best["trial"] / "metrics.csv").read_text().splitlines()
    full = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert full[: len(trial)] == trial and len(full) == 1 + 4
    with (tmp_path / "run" / "metrics.csv").open(newline="") as file:
        reached = [float(row["val_accuracy"]) for row in csv.DictReader(file)]
    assert float(best["accuracy"]) == pytest.approx(max(reached[: len(trial) - 1]), abs=1e-6)


def test_the_landscape_is_measured_before_and_after_once_for_each_best_trial(
    search, options, monkeypatch
):
    kept = json.loads((search[0] / "landscape.json").read_text())
    assert kept["trial"] == _rows(search[0])[0]["trial"]
    wheres = [limit["where"] for limit in kept["limits"]]
    assert wheres == ["before training", "after the best trial"]
    assert kept["limits"][0] != kept["limits"][1] | {"where": "before training"}
    for limit in kept["limits"]:
        assert 0 < limit["low"] <= limit["median"] <= limit["high"]

    def measured(*arguments):
        raise AssertionError("measured anew")

    monkeypatch.setattr(trial.Trials, "stability_limit", measured)
    config = flagfile.read(Tune, search[0] / "flags.txt", output_dir=str(search[0]), trials=4)
    tune.tune(config)


def test_a_finished_search_says_so_and_more_trials_go_on(search, trained, tmp_path, capsys):
    folder = tmp_path / "copy"
    shutil.copytree(search[0], folder)
    config = flagfile.read(Tune, folder / "flags.txt", output_dir=str(folder), trials=4)
    trained(lambda folder: pytest.fail("a trial was begun"))
    tune.tune(config)
    assert "the best of 4 trials" in capsys.readouterr().out
    trained(lambda folder: Score(0.99, 0.01, False, 2, 1.0))
    tune.tune(dataclasses.replace(config, trials=5))
    assert "the best of 5 trials is 0004" in capsys.readouterr().out
    assert [row["trial"] for row in _rows(folder)][0] == "0004"


@pytest.mark.parametrize(
    "changed", ["--tuner=bayesian", "--search_inner_steps=1:9", "--shots=2", "--trial_epochs=1"]
)
def test_other_settings_in_a_directory_with_a_search_are_refused(search, config, changed):
    line = [*RANGES, "--tuner=hyperband", "--trials=4", f"--output_dir={search[0]}", changed]
    with pytest.raises(InputError, match="the search in .* was made with") as error:
        tune.tune(config(*line))
    assert changed in str(error.value)


def test_a_trial_makes_known_each_step_and_one_that_diverges_is_a_finding(config, tmp_path):
    steps = []
    settings = config("--trial_epochs=1")
    trials = trial.Trials(settings, SearchDirectory(tmp_path / "s"), announces=False)
    values = {"outer_step_size_body": 1e38}
    score = trials.run(Trial("0000", values, on_step=lambda: steps.append(1)))
    assert score.diverged and score.accuracy == pytest.approx(1 / 3)
    score = trials.run(Trial("0001", {"inner_steps": 2}, on_step=lambda: steps.append(1)))
    assert not score.diverged and len(steps) >= 4 + 20 // 2, "training and validation"


# ---- What is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["--strategy=multi_worker"], "--strategy=multi_worker: a search has chief and workers"),
        (["--search_filters=4,8", "--body=resnet12"], "--search_filters=4,8: --body=resnet12"),
        (
            ["--search_first_order", "--differentiation=truncated"],
            "--search_first_order: the same as",
        ),
        (
            ["--search_first_order", "--differentiation=first_order"],
            "--search_first_order: --differentiation=first_order leaves",
        ),
        (["--search_first_order", "--head=nil"], "--search_first_order: --head=nil"),
        (
            ["--head=ridge", "--inner_l2=1", *RANGES],
            "--search_inner_step_size=0.01:1.0: --head=ridge",
        ),
        (
            [RANGES[1], "--differentiation=implicit", "--inner_l2=0.1"],
            "--search_inner_steps=1:4: --differentiation=implicit",
        ),
        (["--search_inner_l2=0.1:1", "--head=nil"], "--search_inner_l2=0.1:1.0: --head=nil"),
        (
            ["--search_inner_l2=0:0.1", "--differentiation=implicit"],
            "--search_inner_l2=0.0:0.1: --head=prototype --differentiation=implicit needs",
        ),
        (["--search_inner_l2=0:0.1", "--head=ridge"], "--search_inner_l2=0.0:0.1: --head=ridge"),
        (
            ["--search_outer_step_size_body=0.001:0.1", "--notrain_body"],
            "--search_outer_step_size_body=0.001:0.1: the body has no variables",
        ),
        (
            ["--search_outer_step_size_head=0.001:0.1", "--head=zero"],
            "--search_outer_step_size_head=0.001:0.1: the head has no variables",
        ),
        (["--notrain_body", "--head=nil"], "--search_NAME: expected one or more"),
        (["--head=ridge", "--inner_l2=1", "--inner_step_size=auto"], "=auto: --head=ridge adapts"),
        (["--body=conv5"], "--body=conv5"),
        (["--adapted_layers=9"], "--adapted_layers=9"),
        (["--warmup_steps=12", "--trial_epochs=1"], "--warmup_steps=12"),
        (["--jit_compile=on", *POOLING_ADAPTS], "--jit_compile=on: XLA gets"),
        (
            ["--jit_compile=on", *POOLING_ADAPTS, "--first_order", "--search_first_order"],
            "--jit_compile=on: XLA gets",
        ),
        (["--trial_epochs=5"], "--trial_epochs=5: expected at most --epochs=4"),
        (["--dataset=sinusoid"], "--dataset=sinusoid: a search compares accuracies"),
        (["--dataset=nothing"], "--dataset=nothing"),
    ],
)
def test_what_cannot_be_searched_is_refused_and_nothing_written(config, tmp_path, line, words):
    with pytest.raises(InputError) as error:
        tune.tune(config(*line))
    said = error.value.on_command_line()
    assert words in said and "\n" not in said
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("argument", "accepted"),
    [
        ("--search_inner_step_size=1:0.1", "LOW below HIGH"),
        ("--search_inner_step_size=0:1", "a number above 0"),
        ("--search_inner_step_size=0.1", "LOW:HIGH"),
        ("--search_inner_steps=1.5:3", "an integer of at least 0"),
        ("--search_inner_l2=0:nan", "a number of at least 0"),
        ("--search_filters=16", "two or more integers"),
        ("--search_filters=16,16", "two or more integers"),
        ("--search_filters=0,16", "at least 1"),
        ("--tuner=grid", "random|bayesian|hyperband"),
        ("--minutes=0", "a number above 0"),
    ],
)
def test_a_bad_range_gets_one_line_that_helps(config, argument, accepted):
    with pytest.raises(InputError) as error:
        config(argument)
    line = error.value.on_command_line()
    assert line.startswith(f"{argument}: expected ") and accepted in line


def test_ranges_read_back_as_they_were(config, tmp_path):
    first = config("--search_inner_step_size=1e-3:1", "--search_filters=8,16", RANGES[1])
    (tmp_path / "flags.txt").write_text(flagfile.text(first, "A search."))
    again = config(f"--flagfile={tmp_path / 'flags.txt'}")
    assert again == first and again.search_inner_step_size == (0.001, 1.0)
    assert again.search_filters == (8, 16)


def test_without_its_packages_it_says_how_to_install_them(config, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="scikit-learn.*pip install 'anil_tf.tune.'") as error:
        tune.tune(config("--tuner=bayesian"))
    assert "--tuner=bayesian" in error.value.on_command_line()
    with pytest.raises(InputError, match="tune needs keras-tuner, .*pip install 'anil_tf.tune.'"):
        exec(tuning.__loader__.get_code("anil_tf.tuning"), {"__name__": "anil_tf.tuning"})


def test_a_directory_of_something_else_is_refused(config, tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(InputError, match="output_dir=.*not empty and holds no search"):
        tune.tune(config(f"--output_dir={tmp_path}"))


def test_a_search_that_another_process_holds_is_left_alone(config, tmp_path):
    folder = tmp_path / "s"
    held = SearchDirectory(folder).held()
    with held, pytest.raises(RuntimeError, match="another process searches in .*/s"):
        tune.tune(config())
    assert {path.name for path in folder.iterdir()} == {"search"}


# ---- What is said ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["--inner_steps=3", *RANGES], []),
        (["--inner_steps=9", *RANGES], ["--inner_steps=9", "outside of --search_inner_steps"]),
        (["--inner_step_size=auto", *RANGES], ["--inner_step_size=auto"]),
        (["--tuner=hyperband", "--trial_epochs=2"], ["--tuner=hyperband searches at random"]),
        (["--tuner=hyperband", "--trial_epochs=3"], []),
    ],
)
def test_what_a_user_may_not_expect_of_a_search_is_said(config, line, said):
    made = config(*line)
    notes = tune.notes(made, search_space.from_config(made))
    assert len(notes) == bool(said)
    assert all(words in notes[0] for words in said)


def test_values_that_make_no_learner_fail_their_trial_alone(config, trained, tmp_path, capsys):
    def function(folder):
        if folder.name == "0001":
            raise InputError("these values", {"inner_l2": "0.0"})
        return Score(0.5, 0.01, False, 1, 1.0, "here", (0.5, 0.5))

    trained(function)
    tune.tune(config("--search_filters=4,6,8", "--trials=9"))
    assert [row["status"] for row in _rows(tmp_path / "s")] == ["done", "done", "failed"]
    said = capsys.readouterr()
    assert said.err == "Trial 0001 failed: inner_l2=0.0: these values\n"
    assert "every further setting that was drawn had been tried" in said.out
    assert not (tmp_path / "s" / "inner_loop.png").exists(), "the steps were not searched"


def test_a_search_that_only_diverges_is_drawn_before_it_says_so(
    config, trained, tmp_path, monkeypatch, capsys
):
    def fails(*arguments):
        raise FloatingPointError("not\nfinite")

    trained(lambda folder: Score(1 / 3, 0.0, True, 1, 1.0))
    monkeypatch.setattr(trial.Trials, "stability_limit", fails)
    with pytest.raises(RuntimeError, match="no trial has ended well .0000 diverged"):
        tune.tune(config(*RANGES, "--trials=2"))
    left = {path.name for path in (tmp_path / "s").iterdir()}
    assert {"accuracy.png", "inner_loop.png"} < left
    assert not {"best.flags", "landscape.json"} & left, "it is measured again another time"
    assert capsys.readouterr().err == "inner_loop.png lacks a stability limit: not finite\n"


def test_without_a_score_there_is_nothing_to_draw(config, trained, tmp_path):
    def fails(folder):
        raise ValueError("no memory")

    trained(fails)
    with pytest.raises(RuntimeError, match="the last 3 trials failed"):
        tune.tune(config(*RANGES))
    left = {path.name for path in (tmp_path / "s").iterdir()}
    assert left == {"flags.txt", "search", "trials", "trials.csv"}


# ---- Chief and workers -----------------------------------------------------------------------------------------------


def _chief():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
    return {
        "KERASTUNER_TUNER_ID": "chief",
        "KERASTUNER_ORACLE_IP": "127.0.0.1",
        "KERASTUNER_ORACLE_PORT": port,
    }


@pytest.mark.parametrize(
    ("changed", "error", "words"),
    [
        ({"KERASTUNER_ORACLE_PORT": "0"}, InputError, "KERASTUNER_ORACLE_PORT=0"),
        ({}, RuntimeError, "no worker came within 1 s (--chief_timeout)"),
        ({"KERASTUNER_TUNER_ID": "w1"}, RuntimeError, "no chief answered at 127.0.0.1"),
    ],
)
def test_bad_environments_and_lonely_processes_say_so(config, monkeypatch, changed, error, words):
    for name, value in (_chief() | changed).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(error) as raised:
        tune.tune(config("--chief_timeout=1"))
    assert words in str(raised.value)


@pytest.mark.slow
def test_a_chief_and_two_workers_of_which_two_are_killed_and_come_back(
    repository, options, tmp_path
):
    """Real processes; in one process, tests/tuning/test_search.py has the like."""
    folder, chief = tmp_path / "s", _chief()
    line = [*options, *RANGES, "--trial_epochs=1", "--trials=4", f"--output_dir={folder}"]

    def start(name):
        return subprocess.Popen(
            [sys.executable, "bin/tune.py", *line],
            cwd=repository,
            env=os.environ | chief | {"KERASTUNER_TUNER_ID": name},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    processes = {name: start(name) for name in ("chief", "w1", "w2")}
    _wait_for(folder / "trials" / "0001" / "checkpoints" / "checkpoint")
    for name in ("w2", "chief"):
        processes[name].kill()
        processes[name].communicate(timeout=120)
        processes[name] = start(name)
    said = {}
    for name, process in processes.items():
        said[name], error = process.communicate(timeout=300)
        assert process.returncode == 0, error
    assert {path.name for path in folder.iterdir()} == FILES
    rows = _rows(folder)
    assert sorted(row["trial"] for row in rows) == [f"{number:04d}" for number in range(4)]
    assert {row["status"] for row in rows} == {"done"}
    assert "the best of 4 trials" in said["chief"]
    assert all("Worker done" in said[name] for name in ("w1", "w2"))
