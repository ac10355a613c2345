"""The real bin/tune.py on a small folder of images: files, exit codes, kills, and best.flags in train.py."""

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

import numpy as np
import PIL.Image
import pytest
from absl import flags as absl_flags
from absl.testing import flagsaver

from anil_tf.flags import FLAGS, InputError, define, explain, read_settings, settings
from anil_tf.tuning.objective import Score
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
SHORT = ["--trial_epochs=1", "--steps_per_epoch=3"]
POOLING_ADAPTS = ["--body=conv4", "--adapted_layers=2", "--normalization=running"]
RANGES = ["--search_inner_step_size=0.01:1", "--search_inner_steps=1:4"]


def _start(repository, *arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "bin/tune.py", *arguments],
        cwd=repository,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _tune(repository, *arguments, **environment):
    """Runs the binary to its end; returns (exit code, output, error)."""
    process = _start(repository, *arguments, **environment)
    output, error = process.communicate(timeout=300)
    return process.returncode, output, error


def _wait_for(path):
    deadline = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _rows(folder):
    with (folder / "trials.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
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
        "--epochs=3",
        "--trial_epochs=2",
        "--steps_per_epoch=8",
        "--validation_episodes=20",
        "--tuner=random",
    ]


@pytest.fixture(scope="module")
def search(repository, flags, tmp_path_factory):
    """A search that was interrupted in its first trial, killed in its second, and went on."""
    folder = tmp_path_factory.mktemp("searches") / "one"
    command = [*flags, *RANGES, "--trials=3", f"--output_dir={folder}"]
    process = _start(repository, *command)
    _wait_for(folder / "trials" / "0000" / "checkpoints" / "checkpoint")
    process.send_signal(signal.SIGINT)
    interrupted = (*process.communicate(timeout=120), process.returncode)
    process = _start(repository, *command)
    _wait_for(folder / "trials" / "0001" / "checkpoints" / "checkpoint")
    process.kill()
    process.communicate(timeout=120)
    code, output, error = _tune(repository, *command)
    assert code == 0, error
    return folder, interrupted, output, error


@pytest.fixture
def script(repository, monkeypatch):
    """Imports a file of bin/ into this process."""
    monkeypatch.syspath_prepend(repository / "bin")
    return importlib.import_module


@pytest.fixture
def main(script):
    """Calls a binary's main in this process, where TensorFlow need not be imported again."""

    def call(name, *arguments):
        binary = script(name)
        define(*binary.GROUPS)
        with flagsaver.flagsaver():
            FLAGS([f"{name}.py", *arguments])
            return binary.main()

    return call


@pytest.fixture
def trained(script, monkeypatch):
    """Has trials trained by a function from their folder to a score, in no time."""

    def use(train):
        def instead(trials, folder, epochs, moved):
            folder.mkdir(parents=True, exist_ok=True)
            return train(folder)

        monkeypatch.setattr(script("trial").Trials, "_train", instead)

    return use


def test_an_interrupted_search_exits_75_in_one_line(search):
    _, (output, error, code), _, _ = search
    assert code == 75, error
    assert len(error.strip().splitlines()) == 1
    assert error.strip().endswith("The same command goes on.")


def test_a_search_leaves_its_files_and_a_table_best_first(search):
    folder, _, output, error = search
    assert error == ""
    assert {path.name for path in folder.iterdir()} == FILES
    rows = _rows(folder)
    assert {row["trial"] for row in rows} == {"0000", "0001", "0002"}
    assert {row["status"] for row in rows} == {"done"}, "none is lost to a kill"
    accuracies = [float(row["accuracy"]) for row in rows]
    assert accuracies == sorted(accuracies, reverse=True)
    assert all(float(row["ci95"]) > 0 for row in rows)
    first = next(row for row in rows if row["trial"] == "0000")
    assert (first["inner_step_size"], first["inner_steps"]) == ("0.1", "3"), "as the flags say"
    lines = output.splitlines()
    assert lines[-1].startswith("Next: python bin/train.py --flagfile=")
    assert rows[0]["trial"] in lines[-2] and "±" in lines[-2]


def test_best_flags_repeat_the_best_trial_at_full_length(search, main, tmp_path):
    """The trial was a training as train.py does it, kills or not: the same numbers, digit by digit."""
    folder = search[0]
    best = _rows(folder)[0]
    lines = read_settings(folder / "best.flags")
    assert lines["inner_step_size"] == f"--inner_step_size={best['inner_step_size']}"
    assert lines["inner_steps"] == f"--inner_steps={best['inner_steps']}"
    assert lines["epochs"] == "--epochs=3" and "run_dir" not in lines
    run = tmp_path / "run"
    assert main("train", f"--flagfile={folder / 'best.flags'}", f"--run_dir={run}") == 0
    trial = (folder / "trials" / best["trial"] / "metrics.csv").read_text().splitlines()
    full = (run / "metrics.csv").read_text().splitlines()
    assert len(trial) == 1 + 2 and full[: len(trial)] == trial and len(full) == 1 + 3
    with (run / "metrics.csv").open(newline="") as file:
        reached = [float(row["val_accuracy"]) for row in csv.DictReader(file)][:2]
    assert float(best["accuracy"]) == pytest.approx(max(reached), abs=1e-6)


def test_the_landscape_is_measured_before_and_after(search):
    kept = json.loads((search[0] / "landscape.json").read_text())
    assert kept["trial"] == _rows(search[0])[0]["trial"]
    assert [limit["where"] for limit in kept["limits"]] == [
        "before training",
        "after the best trial",
    ]
    for limit in kept["limits"]:
        assert 0 < limit["low"] <= limit["median"] <= limit["high"]


def test_a_finished_search_says_so_and_more_trials_go_on(
    search, flags, main, trained, tmp_path, capsys
):
    folder = tmp_path / "copy"
    shutil.copytree(search[0], folder)
    command = [*flags, *RANGES, f"--output_dir={folder}"]
    trained(lambda folder: pytest.fail("a trial was begun"))
    assert main("tune", *command, "--trials=3") == 0
    assert "the best of 3 trials" in capsys.readouterr().out
    trained(lambda folder: Score(0.99, 0.01, False, 2, 1.0))
    assert main("tune", *command, "--trials=4") == 0
    assert "the best of 4 trials is 0003" in capsys.readouterr().out
    assert [row["trial"] for row in _rows(folder)][0] == "0003"


@pytest.mark.parametrize(
    "changed", ["--tuner=bayesian", "--search_inner_steps=1:9", "--shots=2", "--trial_epochs=1"]
)
def test_other_settings_in_a_directory_with_a_search_are_refused(search, flags, main, changed):
    command = [*flags, *RANGES, "--trials=3", f"--output_dir={search[0]}", changed]
    with pytest.raises(InputError, match="the search in .* was made with") as error:
        main("tune", *command)
    assert changed in str(error.value)


@pytest.mark.parametrize(
    ("given", "words"),
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
        (["--head=ridge", *RANGES], "--search_inner_step_size=0.01:1.0: --head=ridge"),
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
        (["--trial_epochs=4"], "--trial_epochs=4: expected at most --epochs=3"),
        (["--dataset=sinusoid"], "--dataset=sinusoid: a search compares accuracies"),
        (["--dataset=nothing"], "--dataset=nothing"),
    ],
)
def test_what_cannot_be_searched_is_refused_and_nothing_written(
    flags, main, tmp_path, given, words
):
    folder = tmp_path / "search"
    with pytest.raises(InputError, match=words):
        main("tune", *flags, f"--output_dir={folder}", *given)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("tuner", "missing", "words"),
    [
        ("random", "keras_tuner", "--tuner=random needs keras-tuner, "),
        ("bayesian", "sklearn", "--tuner=bayesian needs scikit-learn, "),
        ("random", "sklearn", None),
    ],
)
def test_without_its_packages_it_says_how_to_install_them(
    script, monkeypatch, tuner, missing, words
):
    searched = script("searched")
    define("tuning")
    monkeypatch.setattr(searched.importlib.util, "find_spec", lambda name: name != missing or None)
    with flagsaver.flagsaver(tuner=tuner):
        FLAGS(["tune.py"])
        if words is None:
            searched.require_packages()
            return
        with pytest.raises(InputError, match=f"{words}.*pip install 'anil_tf.tune.'") as error:
            searched.require_packages()
    assert "pip install '.[tune]'" in str(error.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--inner_steps=3", *RANGES], []),
        (["--inner_steps=9", *RANGES], ["--inner_steps=9", "outside of --search_inner_steps"]),
        (["--inner_step_size=auto", *RANGES], ["--inner_step_size=auto"]),
        (["--tuner=hyperband", "--trial_epochs=2"], ["--tuner=hyperband searches at random"]),
        (["--tuner=hyperband", "--trial_epochs=3"], []),
    ],
)
def test_what_a_user_may_not_expect_of_a_search_is_said(script, flags, given, said):
    searched, trial = script("searched"), script("trial")
    define("tuning", *trial.TRAINING)
    with flagsaver.flagsaver():
        FLAGS(["tune.py", *flags, *given])
        notes = searched.notes(searched.space(), trial.trial_epochs())
    assert len(notes) == bool(said)
    assert all(words in notes[0] for words in said)


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ([], ["inner_step_size", "inner_steps", "outer_step_size_body"]),
        (["--notrain_body"], ["inner_step_size", "inner_steps"]),
        (["--head=ridge"], ["outer_step_size_body"]),
        (["--search_filters=4,8"], ["filters"]),
    ],
)
def test_by_default_what_changes_something_is_searched(script, flags, given, names):
    searched, trial = script("searched"), script("trial")
    define("tuning", *trial.TRAINING)
    with flagsaver.flagsaver():
        FLAGS(["tune.py", *flags, *given])
        assert searched.space().names == names


def test_a_search_that_another_process_holds_is_left_alone(flags, main, tmp_path):
    folder = tmp_path / "s"
    command = [*flags, *SHORT, f"--output_dir={folder}"]
    with (
        SearchDirectory(folder).held(),
        pytest.raises(RuntimeError, match="another process searches in .*/s"),
    ):
        main("tune", *command)
    assert {path.name for path in folder.iterdir()} == {"search"}


def test_values_that_make_no_learner_fail_their_trial_alone(flags, main, trained, tmp_path, capsys):
    def train(folder):
        if folder.name == "0001":
            raise InputError("--inner_l2=0.0: these values")
        return Score(0.5, 0.01, False, 1, 1.0, "here", (0.5, 0.5))

    trained(train)
    folder = tmp_path / "s"
    command = ["--search_filters=4,6,8", "--trials=9", f"--output_dir={folder}"]
    assert main("tune", *flags, *command) == 0
    assert [row["status"] for row in _rows(folder)] == ["done", "done", "failed"]
    said = capsys.readouterr()
    assert said.err == "Trial 0001 failed: --inner_l2=0.0: these values\n"
    assert "every further setting that was drawn had been tried" in said.out


def test_a_search_that_only_diverges_is_drawn_before_it_says_so(
    flags, main, script, trained, tmp_path, monkeypatch, capsys
):
    def fails(*arguments):
        raise FloatingPointError("not finite")

    trained(lambda folder: Score(1 / 3, 0.0, True, 1, 1.0))
    monkeypatch.setattr(script("trial"), "stability_limit", fails)
    folder = tmp_path / "s"
    with pytest.raises(RuntimeError, match="no trial has ended well .0000 diverged"):
        main("tune", *flags, *RANGES, "--trials=2", f"--output_dir={folder}")
    assert {"accuracy.png", "inner_loop.png"} < {path.name for path in folder.iterdir()}
    assert capsys.readouterr().err == "inner_loop.png lacks a stability limit: not finite\n"


def test_a_trial_says_that_it_moves_after_each_step(flags, script, tmp_path):
    trial = script("trial")
    define("tuning", *trial.TRAINING)
    moves = []
    with flagsaver.flagsaver():
        FLAGS(["tune.py", *flags, *SHORT])
        directory = SearchDirectory(tmp_path / "s")
        trials = trial.Trials(directory, says_what=False)
        trials.run(Trial("0000", {"inner_steps": 2}, moved=lambda: moves.append(1)))
    assert len(moves) >= 3 + 20 // 2, "training and validation"


@pytest.mark.parametrize(
    ("given", "accepted"),
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
def test_a_bad_range_gets_one_line_that_helps(given, accepted):
    define("tuning")
    with flagsaver.flagsaver(), pytest.raises(absl_flags.Error) as error:
        FLAGS(["tune.py", given])
    line = explain(error.value)
    assert line.startswith(f"{given}: expected ") and accepted in line


def test_ranges_read_back_as_they_were(tmp_path):
    define("tuning")
    given = ["--search_inner_step_size=1e-3:1", "--search_filters=8,16", "--search_inner_l2=0:0.1"]
    with flagsaver.flagsaver():
        FLAGS(["tune.py", *given])
        lines = settings(["tuning"])
        (tmp_path / "flags.txt").write_text("\n".join(lines.values()))
    with flagsaver.flagsaver():
        FLAGS(["tune.py", f"--flagfile={tmp_path / 'flags.txt'}"])
        assert settings(["tuning"]) == lines == read_settings(tmp_path / "flags.txt")
        assert tuple(FLAGS.search_inner_step_size) == (0.001, 1.0)
        assert tuple(FLAGS.search_filters) == (8, 16)


def test_a_directory_of_something_else_is_refused(flags, main, tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(InputError, match="--output_dir=.*not empty and holds no search"):
        main("tune", *flags, f"--output_dir={tmp_path}")


def test_trials_that_diverge_are_findings(flags, main, tmp_path):
    """Step sizes from sensible to absurd: the absurd ones count as chance, and the search ends well."""
    command = ["--search_outer_step_size_body=1e-3:1e38", "--search_filters=4,6", "--trials=4"]
    assert main("tune", *flags, *SHORT, *command, f"--output_dir={tmp_path / 's'}") == 0
    rows = _rows(tmp_path / "s")
    diverged = [row for row in rows if row["status"] == "diverged"]
    assert diverged and rows[0]["status"] == "done"
    assert all(float(row["accuracy"]) == pytest.approx(1 / 3) for row in diverged)
    assert not (tmp_path / "s" / "inner_loop.png").exists(), "the steps were not searched"


def test_hyperband_goes_on_with_its_best_trials(flags, main, tmp_path):
    folder = tmp_path / "s"
    command = ["--tuner=hyperband", "--trial_epochs=3", "--steps_per_epoch=3", "--trials=4"]
    assert main("tune", *flags, *command, RANGES[0], f"--output_dir={folder}") == 0
    states = [json.loads(path.read_text()) for path in folder.glob("search/trial_*/trial.json")]
    values = {state["trial_id"]: state["hyperparameters"]["values"] for state in states}
    longer = {name: each for name, each in values.items() if "tuner/trial_id" in each}
    assert longer
    for name, each in longer.items():
        short = (folder / "trials" / each["tuner/trial_id"] / "metrics.csv").read_text()
        long = (folder / "trials" / name / "metrics.csv").read_text()
        assert long.startswith(short) and len(long) > len(short)


def _chief(name):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
    return {
        "KERASTUNER_TUNER_ID": name,
        "KERASTUNER_ORACLE_IP": "127.0.0.1",
        "KERASTUNER_ORACLE_PORT": port,
    }


@pytest.mark.slow
def test_a_chief_and_two_workers_of_which_one_is_killed_and_comes_back(repository, flags, tmp_path):
    folder = tmp_path / "s"
    command = [*flags, *RANGES, *SHORT, "--trials=4", f"--output_dir={folder}"]
    chief = _chief("chief")
    roles = [chief | {"KERASTUNER_TUNER_ID": name} for name in ("chief", "w1", "w2")]
    processes = [_start(repository, *command, **role) for role in roles]
    _wait_for(folder / "trials" / "0001" / "checkpoints" / "checkpoint")
    processes[2].kill()
    processes[2].communicate(timeout=120)
    processes[2] = _start(repository, *command, **roles[2])
    said = []
    for process in processes:
        output, error = process.communicate(timeout=300)
        assert process.returncode == 0, error
        said.append(output)
    assert {path.name for path in folder.iterdir()} == FILES
    rows = _rows(folder)
    assert [row["trial"] for row in sorted(rows, key=lambda row: row["trial"])] == [
        f"{number:04d}" for number in range(4)
    ]
    assert {row["status"] for row in rows} == {"done"}
    assert "the best of 4 trials" in said[0]
    assert all("Worker done" in output and "Trial 000" in output for output in said[1:])


def test_bad_environments_and_lonely_processes_end_in_one_line(repository, flags, tmp_path):
    chief = _chief("chief")
    command = [*flags, f"--output_dir={tmp_path / 's'}", "--chief_timeout=1"]
    code, output, error = _tune(repository, *command, **chief | {"KERASTUNER_ORACLE_PORT": "0"})
    assert (code, output) == (2, "") and "KERASTUNER_ORACLE_PORT=0" in error
    lonely = {
        "chief": "no worker came within 1 s (--chief_timeout)",
        "w1": "no chief answered at 127.0.0.1",
    }
    for name, words in lonely.items():
        code, _, error = _tune(repository, *command, **chief | {"KERASTUNER_TUNER_ID": name})
        assert code == 1, error
        assert len(error.strip().splitlines()) == 1 and words in error
