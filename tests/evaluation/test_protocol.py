import json
import subprocess

import keras
import pytest

import anil_tf
from anil_tf.evaluation import protocol


@pytest.fixture
def described(nearest_mean, image_tasks):
    return protocol.describe(
        nearest_mean(3),
        image_tasks(seed=5),
        episodes=600,
        training_seed=11,
        checkpoint_rule="highest validation accuracy of one run",
        weight_averaging=0.99,
        training_seconds=71.0,
        evaluation_seconds=2.5,
    )


def test_nothing_that_published_rows_leave_unsaid_is_missing(described):
    expected = {
        "dataset": "made",
        "split": "test",
        "split_description": "made by hand",
        "ways": 3,
        "shots": 2,
        "queries": 4,
        "meta_batch_size": 4,
        "episodes": 600,
        "evaluation_seed": 5,
        "training_seed": 11,
        "normalization": "support",
        "inner_steps": 3,
        "inner_step_size": 0.25,
        "adapted": "nothing",
        "geometry": "flat",
        "head": "prototype",
        "checkpoint_rule": "highest validation accuracy of one run",
        "weight_averaging": 0.99,
        "training_seconds": 71.0,
        "evaluation_seconds": 2.5,
    }
    assert expected.items() <= described.items()
    assert json.loads(json.dumps(described)) == described
    assert described["commit"] and described["software"]["anil_tf"] == anil_tf.__version__
    assert "unknown" not in described["software"].values()
    assert described["hardware"]["cores"] >= 1 and described["hardware"]["memory_gib"] > 0
    assert described["hardware"]["cpu"]


@pytest.mark.parametrize(
    ("kind", "sizes", "expected"),
    [
        ("scalar", [0.3], {"inner_step_size": 0.3}),
        (
            "per_variable",
            [[[0.1, 0.3]], [-0.2, 0.6]],
            {"inner_step_size": 0.2, "inner_step_size_range": [-0.2, 0.6]},
        ),
    ],
)
def test_a_learned_step_size_is_said_as_it_was_learned(
    nearest_mean, image_tasks, kind, sizes, expected
):
    learner = nearest_mean(3)
    learner.learned_inner_step_size = kind
    learner.inner_step_sizes = [keras.Variable(size) for size in sizes]
    described = protocol.describe(
        learner, image_tasks(), episodes=1, training_seed=0, checkpoint_rule="the last"
    )
    assert (expected | {"learned_inner_step_size": kind}).items() <= described.items()
    assert json.loads(json.dumps(described)) == described


def test_rows_are_for_people_and_leave_out_what_is_unknown(described):
    rows = dict(protocol.rows(described | {"training_seconds": None}))
    assert rows["queries per class"] == "4"
    assert rows["evaluation time"] == "2.5 s"
    assert rows["cores"] == str(described["hardware"]["cores"])
    assert "training time" not in rows
    assert all(isinstance(value, str) and value for value in rows.values())


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (59.9, "59.9 s"),
        (59.97, "1 min 0 s"),
        (250, "4 min 10 s"),
        (3599.7, "1 h 0 min"),
        (7500, "2 h 5 min"),
    ],
)
def test_durations(seconds, text):
    assert protocol.duration(seconds) == text


def test_the_commit_says_when_the_code_has_changes(tmp_path, monkeypatch):
    def git(*arguments):
        identity = ["-c", "user.name=A", "-c", "user.email=a@b.c"]
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    monkeypatch.setattr(protocol, "_ROOT", tmp_path)
    git("init", "-q")
    assert protocol.commit() == f"anil_tf {anil_tf.__version__}"
    (tmp_path / "anil_tf").mkdir()
    (tmp_path / "anil_tf" / "code.py").write_text("1")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    head = git("rev-parse", "HEAD")
    assert protocol.commit() == head
    (tmp_path / "notes.md").write_text("no code")
    assert protocol.commit() == head
    (tmp_path / "anil_tf" / "code.py").write_text("2")
    assert protocol.commit() == head + "+changes"


def test_without_git_the_version_is_the_answer(tmp_path, monkeypatch):
    (tmp_path / ".git").mkdir()
    monkeypatch.setattr(protocol, "_ROOT", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert protocol.commit() == f"anil_tf {anil_tf.__version__}"
