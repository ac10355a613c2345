"""Evaluates a finished run: the table and its JSON, comparisons, other tasks and other heads, and what is refused."""

import hashlib
import shutil

import pytest
import tensorflow as tf

import anil_tf
from anil_tf import build
from anil_tf.commands.finished_run import FinishedRun
from anil_tf.config import Evaluate, flags
from tests.command_line import refuse, start, succeed

EPISODES = 21


def evaluate(*arguments):
    return succeed("evaluate", f"--episodes={EPISODES}", *arguments)


def table(answer):
    return [" ".join(line.split()) for line in answer.output.splitlines()[:-1]]


def contents(directory):
    """A digest of every file by its path."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def changed(small_run, tmp_path_factory):
    """Copies the run with another learner in it, and other lines in its flags.txt."""

    def copy(learner=None, **lines):
        directory = tmp_path_factory.mktemp("changed") / "run"
        shutil.copytree(small_run.directory, directory)
        if learner:
            loaded = anil_tf.load(directory).replace(**learner)
            loaded.save(directory / "model.keras")
        flags = (directory / "flags.txt").read_text()
        for name, value in lines.items():
            (old,) = [line for line in flags.splitlines() if line.startswith(f"--{name}=")]
            flags = flags.replace(f"{old}\n", f"--{name}={value}\n")
        (directory / "flags.txt").write_text(flags)
        return directory

    return copy


@pytest.fixture(scope="module")
def free(changed):
    """The run, as if its head were free."""
    learner = {"head_initialization": "free", "learned_inner_step_size": "none"}
    # Before training began on other ways than those of validation, it would have been refused.
    return changed(learner, head="free", training_ways=3, learned_inner_step_size="none")


@pytest.fixture(scope="module")
def as_trained(small_run):
    """What is printed without further flags, and the files before and after."""
    before = contents(small_run.directory)
    answer = evaluate(f"--run_dir={small_run.directory}")
    return answer, before, contents(small_run.directory)


def test_the_last_line_is_the_result_with_its_protocol(as_trained):
    result = as_trained[0].result
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
        "training_ways": 4,
        "training_shots": 1,
        "training_queries": 4,
        "training_inner_steps": 2,
        "training_meta_batch_size": 2,
        "training_augment": "crop and flip",
        "training_epochs": 2,
    }
    assert expected.items() <= result["protocol"].items()
    assert result["protocol"]["inner_step_size"] != 0.1, "the learned value, not its start"
    assert {"commit", "hardware", "split_description", "checkpoint_rule"} <= set(result["protocol"])


def test_the_table_says_it_too(as_trained):
    answer = as_trained[0]
    lines = [line for line in answer.output.splitlines()[:-1] if line]
    assert lines[0].split()[:2] == ["accuracy", f"{100 * answer.result['accuracy']:.2f}"]
    cuts = [line.index("  ") for line in lines]
    starts = {len(line) - len(line[cut:].lstrip()) for line, cut in zip(lines, cuts, strict=True)}
    assert len(starts) == 1, "aligned"
    assert {"training seed 3", "evaluation seed 0"} <= set(table(answer))


def test_only_the_card_and_the_record_of_evaluations_change(as_trained, small_run):
    answer, before, after = as_trained
    changed = {name for name in after if before.get(name) != after[name]}
    assert changed == {"card.md", "evaluations.jsonl"} and set(before) <= set(after)
    title = (small_run.directory / "card.md").read_text(encoding="utf-8").splitlines()[0]
    result = answer.result
    assert f"{100 * result['accuracy']:.2f} ± {100 * result['ci95']:.2f} %" in title


def test_compare_uses_the_same_episodes(as_trained, small_run, changed):
    unadapted = changed({"inner_steps": 0})
    answer = evaluate(f"--run_dir={small_run.directory}", f"--compare={unadapted}")
    result, comparison = answer.result, answer.result["comparison"]
    assert result["accuracy"] == as_trained[0].result["accuracy"], "the same seed"
    assert comparison["episodes"] == EPISODES and comparison["ci95"] > 0
    assert comparison["difference"] == pytest.approx(result["accuracy"] - comparison["accuracy"])
    assert comparison["protocol"]["inner_steps"] == 0
    assert comparison["differing"] == ["inner_steps"]
    assert "paired difference" in answer.output
    assert answer.output.count("inner steps\n") == 1 and "protocols differ in" in answer.output


def test_other_ways_shots_queries_steps_and_normalization(small_run):
    changes = {"ways": 5, "shots": 3, "queries": 5, "inner_steps": 7, "meta_batch_size": 4}
    answer = evaluate(
        f"--run_dir={small_run.directory}",
        "--split=validation",
        "--normalization=support",
        "--seed=9",
        *(f"--{name}={value}" for name, value in changes.items()),
    )
    protocol = answer.result["protocol"]
    expected = changes | {"split": "validation", "normalization": "support", "evaluation_seed": 9}
    assert expected.items() <= protocol.items()
    trained = {"seed": 3, "ways": 4, "shots": 1, "queries": 4, "inner_steps": 2}
    assert {
        f"training_{name}": value for name, value in trained.items()
    }.items() <= protocol.items()


def test_nil_evaluates_the_body_of_a_run_on_any_ways(free):
    flags = ["--preset=nil_at_test", f"--run_dir={free}", "--ways=6", "--episodes=8"]
    answer = succeed("evaluate", *flags)
    protocol = answer.result["protocol"]
    expected = {"head": "nil, 0 parameters", "ways": 6, "inner_steps": 0}
    assert expected.items() <= protocol.items()
    assert protocol["learned_inner_step_size"] == "none"
    assert {"head nil, 0 parameters", "inner steps 0", "ways 6"} <= set(table(answer))
    assert answer.result["accuracy"] > 1 / 6, "patterns are told apart by any body"


@pytest.mark.parametrize(
    "learner",
    [
        {"learned_inner_step_size": "per_variable"},
        {"differentiation": "implicit", "inner_l2": 0.5, "learned_inner_step_size": "none"},
        {"differentiation": "truncated", "truncated_to": 1},
        {"head_initialization": "ridge", "inner_l2": 1.0, "learned_inner_step_size": "none"},
    ],
    ids=str,
)
def test_nil_is_put_on_any_run(changed, learner):
    directory = str(changed(learner))
    given = [f"--run_dir={directory}", "--head=nil", "--ways=6"]
    config = flags.read_command_line(Evaluate, given).config
    tasks = build.make_tasks(config, "test")
    nil = FinishedRun(directory).learner(config, tasks)
    assert nil.head_initialization == "nil" and nil.learned_inner_step_size == "none"


def test_a_run_trained_as_nil_leaves_the_head_of_the_other_run_alone(small_run, changed):
    learner = {"head_initialization": "nil", "learned_inner_step_size": "none"}
    nil = changed(learner, head="nil", learned_inner_step_size="none")
    answer = evaluate(f"--run_dir={nil}", f"--compare={small_run.directory}")
    comparison = answer.result["comparison"]
    assert answer.result["protocol"]["head"].startswith("nil")
    assert comparison["protocol"]["head"].startswith("prototype")
    assert "head" in comparison["differing"]


def test_numbers_are_evaluated_by_their_squared_error(sinusoid_run):
    answer = succeed("evaluate", f"--run_dir={sinusoid_run}", "--episodes=4")
    assert {"mse", "ci95", "loss"} <= answer.result.keys() and "accuracy" not in answer.result
    assert answer.output.startswith("result ")


def test_training_images_are_not_augmented_and_a_full_disk_costs_only_the_record(
    small_run, tmp_path, monkeypatch
):
    copy = tmp_path / "run"
    shutil.copytree(small_run.directory, copy)
    (copy / "evaluations.jsonl").unlink(missing_ok=True)
    (copy / "evaluations.jsonl").mkdir()  # whoever may do anything cannot write here either
    make_tasks, drawn = build.make_tasks, []
    monkeypatch.setattr(
        build, "make_tasks", lambda *one, **two: drawn.append(make_tasks(*one, **two)) or drawn[0]
    )
    answer = start("evaluate", f"--run_dir={copy}", "--split=train", "--episodes=4")
    assert answer.code == 0 and [tasks.augment for tasks in drawn] == [False]
    assert answer.result["protocol"]["split"] == "train"
    (warning,) = answer.error.splitlines()
    assert "not recorded" in warning and str(copy) in warning


def test_deterministic_is_set_before_any_task_is_drawn(small_run, monkeypatch):
    called = []
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: called.append(1))
    monkeypatch.setattr(build, "make_tasks", lambda *_, **__: pytest.fail(f"drawn after {called}"))
    with pytest.raises(pytest.fail.Exception, match=r"drawn after \[1\]"):
        start("evaluate", f"--run_dir={small_run.directory}", "--deterministic")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--run_dir: expected a"),
        (["--split=tset"], "--split=tset: expected one of train|validation|test"),
        (["--run_dir=/nowhere"], "--run_dir=/nowhere: expected the directory of a run"),
        (["--run_dir={run}", "--filters=64"], "--filters=64: part of the trained model"),
        (["--run_dir={run}", "--inner_steps=auto"], "--inner_steps=auto: measured where training"),
        (["--run_dir={run}", "--compare={run}/checkpoints"], "--compare=.*expected the directory"),
        (["--run_dir={unfinished}"], "expected a finished run.*train.py --flagfile="),
        (["--run_dir={extended}"], "being extended from --epochs=2 to --epochs=9; .*train.py"),
        (["--run_dir={run}", "--compare={extended}"], "--compare=.*being extended"),
        (["--run_dir={run}", "--split_seed=1"], "--split_seed=1: .*expected --split_seed=0"),
        (["--run_dir={run}", "--split_seed=1", "--data_dir=/nowhere"], "not a directory"),
        (["--run_dir={run}", "--compare={split}"], "--split_seed=0: .*--compare.*--split_seed=1"),
        (["--run_dir={run}", "--ways=9"], "8 classes"),
        (["--run_dir={run}", "--dataset=imagefolder"], "image_folder"),
        (
            ["--run_dir={run}", "--dataset=sinusoid"],
            "--run_dir=.* takes images of shape .16, 16, 3",
        ),
        (["--run_dir={run}", "--inner_step_size=0.2"], "--inner_step_size=0.2: .* has learned"),
        (["--run_dir={run}", "--head=nil", "--inner_steps=2"], "--inner_steps=2: .*no inner loop"),
        (["--run_dir={free}", "--ways=3"], "evaluate.py: --ways=3: .*expected --ways=4"),
        (["--run_dir={ridge}", "--inner_l2=0.5"], "--inner_l2=0.5: .* has learned .* no value"),
    ],
    ids=str,
)
def test_bad_input_names_the_flag(small_run, changed, free, tmp_path, arguments, said):
    shutil.copy(small_run.directory / "flags.txt", tmp_path)
    places = {"run": small_run.directory, "unfinished": tmp_path, "free": free}
    if "{extended}" in str(arguments):
        places["extended"] = changed(epochs=9)
    if "{split}" in str(arguments):
        places["split"] = changed(split_seed=1)
    if "{ridge}" in str(arguments):
        ridge = {"head_initialization": "ridge", "inner_l2": 1.0, "learned_inner_step_size": "none"}
        places["ridge"] = changed(ridge)
    answer = refuse(said, "evaluate", *(argument.format(**places) for argument in arguments))
    assert not answer.output
