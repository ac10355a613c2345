"""Trains, stops, goes on, extends and overwrites runs: the files, the exit codes and what is said."""

import functools
import os
import signal

import keras
import pytest

import anil_tf
from anil_tf import training
from tests.command_line import refuse, start, succeed
from tests.small_runs import ONE_STEP, assert_same_runs, rows

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
SINUSOID = ["--dataset=sinusoid", "--body=mlp", "--filters=4", "--shots=5", "--steps_per_epoch=2"]


class Signal(keras.callbacks.Callback):
    """Sends this process a signal after some meta-steps."""

    def __init__(self, after):
        super().__init__()
        self.left = after

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGINT)


def test_a_run_leaves_its_files_and_says_what_it_reached(small_run):
    assert {path.name for path in small_run.directory.iterdir()} >= FILES
    lines = small_run.output.splitlines()
    assert "4-way 1-shot" in lines[0], "training tasks have ways of their own"
    epochs = [line for line in lines if line.startswith("epoch ")]
    assert len(epochs) == 2 and all("episodes/s" in line for line in epochs)
    assert "bin/evaluate.py" in lines[-1]
    assert [row["epoch"] for row in rows(small_run.directory)] == ["1", "2"]
    assert list((small_run.directory / "tensorboard").rglob("*.tfevents*.episode"))


def test_a_stopped_run_exits_75_and_ends_as_if_it_had_not_been(small_run, tmp_path, monkeypatch):
    folder = tmp_path / "stopped"
    with monkeypatch.context() as patched:
        stopping = functools.partial(training.run, callbacks=[Signal(after=4)])
        patched.setattr(training, "run", stopping)
        answer = start("train", *small_run.arguments, f"--run_dir={folder}", "--overwrite")
    assert answer.code == 75, answer
    (line,) = answer.error.splitlines()
    assert "4 of 6; saved in" in line
    assert "flags.txt goes on" in line, "with --overwrite, the same command does not"
    assert not (folder / "model.keras").exists()
    refuse("expected a finished run.*train.py --flagfile=", "evaluate", f"--run_dir={folder}")
    answer = succeed("train", f"--flagfile={folder}/flags.txt")
    assert "Going on with the run" in answer.output
    assert_same_runs(folder, small_run.directory)


def test_a_finished_run_says_so_and_is_left_alone(small_run):
    folder = small_run.directory
    before = {path: os.stat(path).st_mtime_ns for path in folder.rglob("*")}
    answer = succeed("train", *small_run.arguments, f"--run_dir={folder}")
    assert "is finished: 2 epochs. Next: python bin/evaluate.py" in answer.output
    said = "was made with --ways=3, received --ways=2.* Choose another --run_dir, or --overwrite"
    refuse(said, "train", *small_run.arguments, f"--run_dir={folder}", "--ways=2")
    said = "--epochs=3 .only a run with --schedule=constant can be extended"
    refuse(said, "train", f"--flagfile={folder}/flags.txt", "--epochs=3")
    assert {path: os.stat(path).st_mtime_ns for path in folder.rglob("*")} == before


def test_a_loss_that_is_not_finite_ends_in_one_line_and_the_run_can_be_overwritten(tmp_path):
    run = [*SINUSOID, f"--run_dir={tmp_path}/run"]
    answer = start("train", *run, "--inner_step_size=1e12")
    assert answer.code == 1
    (line,) = answer.error.splitlines()
    for words in ("meta-step 1", "inner_step_size=1e+12", "state-0"):
        assert words in line
    answer = succeed("train", *run, "--epochs=1", "--overwrite", "--jit_compile=on")
    assert answer.output.startswith("Deleting the run in ")
    assert "--inner_step_size=0.1\n" in (tmp_path / "run" / "flags.txt").read_text()
    assert (tmp_path / "run" / "model.keras").exists()


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
        (
            ["--mixed_precision", "--head=ridge", "--inner_l2=1"],
            ["inner steps: none", "head: ridge, 2 parameters"],
        ),
    ],
    ids=lambda words: words[0],
)
def test_algorithms_train(small_run, tmp_path, settings, said):
    folder = tmp_path / "run"
    answer = succeed("train", *small_run.arguments, *ONE_STEP, *settings, f"--run_dir={folder}")
    for words in said:
        assert words in answer.output
    (row,) = rows(folder)
    assert 0 < float(row["loss"]) < 10
    learner = anil_tf.load(folder)
    computed = {layer.compute_dtype for layer in learner.body._flatten_layers() if layer.weights}
    assert ("bfloat16" in computed) == ("--mixed_precision" in settings)
    assert {variable.dtype for variable in learner.trainable_variables} == {"float32"}
    assert learner.head.compute_dtype == "float32"


def test_a_first_order_run_is_extended_from_its_flags(small_run, tmp_path):
    """Which name --first_order beside the differentiation that it stands in for."""
    run = [*small_run.arguments, *ONE_STEP, f"--run_dir={tmp_path}/run", "--first_order"]
    assert "meta gradient: first order" in succeed("train", *run).output
    output = succeed("train", f"--flagfile={tmp_path}/run/flags.txt", "--epochs=2").output
    assert "meta gradient: first order" in output and "epoch 2/2" in output
    assert "Until epoch 2, model.keras and card.md are those of epoch 1." in output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--dataset=fc1000"], "--dataset=fc1000.*fc100"),
        (["--body=lstm"], "--body=lstm: expected conv4|smooth_conv4|"),
        (["--body=conv4"], "--body=conv4: .*numbers and no images; expected mlp"),
        (["--adapted_layers=9"], "--adapted_layers=9"),
        (["--warmup_steps=99"], "--warmup_steps=99: expected fewer"),
        (["--head=zero", "--notrain_body"], "--head=zero --adapted_layers=1 .*: nothing to train"),
        (["--adapted_layers=all", "--mixed_precision"], "--mixed_precision.*--adapted_layers=all"),
        (
            ["--differentiation=implicit", "--inner_l2=1", "--adapted_layers=2"],
            "--adapted_layers=2.*takes a head of one linear layer",
        ),
        (["--frozen_in_adaptation=head"], "--frozen_in_adaptation=head.*nothing to adapt"),
        (["--head=nil"], "--head=nil.*needs classes"),  # these are numbers
    ],
    ids=str,
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(tmp_path, arguments, said):
    refuse(said, "train", *SINUSOID, *arguments, f"--run_dir={tmp_path}/run")
    assert not (tmp_path / "run").exists()


def test_a_directory_with_something_else_in_it_is_refused(tmp_path):
    (tmp_path / "mine").touch()
    refuse(f"--run_dir={tmp_path}: .*holds no run", "train", f"--run_dir={tmp_path}", "--overwrite")
    assert os.listdir(tmp_path) == ["mine"]


def test_xla_is_refused_where_it_is_wrong(small_run, tmp_path):
    """Second derivatives of max pooling."""
    flags = ["--jit_compile=on", "--adapted_layers=2", f"--run_dir={tmp_path}/run"]
    refuse("--jit_compile=on: XLA gets second", "train", *small_run.arguments, *flags)


def test_replicas_share_the_meta_batch(small_run, tmp_path, monkeypatch):
    monkeypatch.setattr(
        training.distribution,
        "create",
        lambda name: type("Strategy", (), {"num_replicas_in_sync": 4})(),
    )
    flags = ["--meta_batch_size=6", "--strategy=mirrored", f"--run_dir={tmp_path}/run"]
    said = "--meta_batch_size=6: expected a multiple of the 4 replicas of --strategy=mirrored"
    refuse(said, "train", *small_run.arguments, *flags)
