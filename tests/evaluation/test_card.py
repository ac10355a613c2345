import json
import math

import pytest

from anil_tf.evaluation import card

PROTOCOL = {
    "dataset": "fc100",
    "split": "validation",
    "split_description": "20 classes of 4 superclasses | TADAM",
    "ways": 5,
    "shots": 5,
    "queries": 10,
    "episodes": 200,
    "meta_batch_size": 8,
    "evaluation_seed": 0,
    "training_seed": 3,
    "normalization": "episode",
    "inner_steps": 5,
    "inner_step_size": 0.1,
    "inner_l2": 0.0,
    "checkpoint_rule": "highest validation accuracy of one run",
    "weight_averaging": "none",
    "training_seconds": 612.0,
    "hardware": {"cpu": "A fast one", "cores": 2, "memory_gib": 16.0, "accelerators": []},
    "software": {"python": "3.11", "keras": "3.15"},
    "commit": "1f0c2e",
}


def write(directory):
    card.write(
        directory / "card.md",
        protocol=PROTOCOL,
        validation={"accuracy": 0.5},
        training={"epochs": 20, "meta_steps": 4000, "best_epoch": 17},
        command="python bin/train.py --flagfile=bin/presets/fc100_5way_5shot.flags",
    )


def result(accuracy=0.4802, ci95=0.0071, **changes):
    protocol = PROTOCOL | {"split": "test", "queries": 15, "episodes": 1000} | changes
    return {
        "accuracy": accuracy,
        "ci95": ci95,
        "loss": 1.3,
        "ece": 0.043,
        "episodes": 1000,
        "seconds": 30.0,
        "protocol": protocol,
    }


@pytest.fixture
def run_dir(tmp_path):
    for name in ("curves.png", "episodes.png"):
        (tmp_path / name).touch()
    write(tmp_path)
    return tmp_path


def text(run_dir):
    return (run_dir / "card.md").read_text(encoding="utf-8")


def test_the_title_is_the_validation_result_until_there_is_a_test(run_dir):
    assert text(run_dir).startswith("# fc100, 5-way 5-shot: 50.00 %\n")
    assert "Not yet evaluated on test classes" in text(run_dir)
    card.add_evaluation(run_dir, result())
    written = text(run_dir)
    assert written.startswith("# fc100, 5-way 5-shot: 48.02 ± 0.71 %\n")
    assert "Mean accuracy over 1000 test episodes with its 95 % interval" in written
    assert "Not yet evaluated" not in written
    write(run_dir)
    assert text(run_dir) == written, "a card written anew keeps its evaluations"


def test_the_whole_protocol_is_on_the_card(run_dir):
    card.add_evaluation(run_dir, result())
    written = text(run_dir)
    for row in (
        "| queries per class | 15 |",
        "| episodes | 1000 |",
        "| evaluation seed | 0 |",
        "| training seed | 3 |",
        "| normalization | episode |",
        "| checkpoint rule | highest validation accuracy of one run |",
        "| training time | 10 min 12 s |",
        "| CPU | A fast one |",
        "| cores | 2 |",
        "| commit | 1f0c2e |",
        "| meta steps | 4000 |",
        "| best epoch | 17 |",
        r"| split description | 20 classes of 4 superclasses \| TADAM |",
    ):
        assert row in written
    assert "](curves.png)" in written and "](episodes.png)" in written
    assert "--flagfile=bin/presets/fc100_5way_5shot.flags" in written
    assert "--split=test --episodes=1000 --queries=15 --seed=0" in written


def test_pictures_that_do_not_exist_are_not_linked_and_facts_can_be_read_back(tmp_path):
    assert card.read(tmp_path) == {}
    write(tmp_path)
    assert ".png" not in text(tmp_path)
    assert card.read(tmp_path)["protocol"] == PROTOCOL


def test_accuracy_under_support_stands_beside_the_title_once_known(run_dir):
    card.add_evaluation(run_dir, result())
    assert "Under `support`" not in text(run_dir)
    card.add_evaluation(run_dir, result(0.4512, 0.007, normalization="support"))
    written = text(run_dir)
    assert written.startswith("# fc100, 5-way 5-shot: 48.02 ± 0.71 %\n")
    assert "Under `support`, where no query knows of the others: **45.12 ± 0.70 %**" in written


@pytest.mark.parametrize(
    "changes",
    [{"ways": 7}, {"inner_steps": 50}, {"split": "train"}, {"dataset": "cifar_fs"}],
)
def test_other_settings_are_listed_but_take_no_title(run_dir, changes):
    card.add_evaluation(run_dir, result())
    card.add_evaluation(run_dir, result(0.9, **changes))
    assert text(run_dir).startswith("# fc100, 5-way 5-shot: 48.02 ± 0.71 %\n")
    assert "90.00 ± 0.71 %" in text(run_dir)


@pytest.mark.parametrize(
    ("first", "second"),
    [({}, {}), ({"training_epochs": 10}, {"training_epochs": 20})],
    ids=["the same setting", "a training since extended"],
)
def test_every_evaluation_is_kept_and_the_last_is_shown(run_dir, first, second):
    card.add_evaluation(run_dir, result(0.4, **first))
    card.add_evaluation(run_dir, result(0.48, **second))
    assert text(run_dir).startswith("# fc100, 5-way 5-shot: 48.00 ± 0.71 %\n")
    assert "40.00 ±" not in text(run_dir)
    assert [entry["accuracy"] for entry in card.evaluations(run_dir)] == [0.4, 0.48]


def test_an_evaluation_of_fewer_epochs_than_the_card_is_not_shown(run_dir):
    card.add_evaluation(run_dir, result(0.4, training_epochs=10))
    assert text(run_dir).startswith("# fc100, 5-way 5-shot: 50.00 %\n")


def test_a_torn_line_costs_only_itself(run_dir, caplog):
    card.add_evaluation(run_dir, result(0.4))
    path = run_dir / "evaluations.jsonl"
    path.write_bytes(path.read_bytes() + '{"accuracy": 0.45, "name": "é'.encode()[:-1])
    with caplog.at_level("WARNING", logger="absl"):
        assert [entry["accuracy"] for entry in card.evaluations(run_dir)] == [0.4]
    assert f"{path}, line 2 is torn" in caplog.text
    card.add_evaluation(run_dir, result(0.48))
    assert [entry["accuracy"] for entry in card.evaluations(run_dir)] == [0.4, 0.48]


def test_a_card_that_cannot_be_written_leaves_the_old_one(run_dir, monkeypatch):
    before = text(run_dir), (run_dir / "card.json").read_text(encoding="utf-8")

    def full(*arguments):
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space left"):
        card.add_evaluation(run_dir, result())
    with pytest.raises(OSError, match="no space left"):
        write(run_dir)
    assert before == (text(run_dir), (run_dir / "card.json").read_text(encoding="utf-8"))


def test_an_evaluation_without_a_card_is_recorded_only(tmp_path):
    card.add_evaluation(tmp_path, result())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evaluations.jsonl"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"accuracy": 0.4802, "ci95": 0.0071}, "48.02 ± 0.71 %"),
        ({"accuracy": 0.4802, "ci95": None}, "48.02 %"),
        ({"accuracy": 0.4802, "ci95": math.nan}, "48.02 %"),
        ({"mse": 0.03125, "ci95": 0.004}, "mean squared error 0.0312 ± 0.0040"),
    ],
)
def test_score(value, shown):
    assert card.score(value) == shown


def test_json_is_strict():
    loaded = json.loads(card.dumps({"ci95": math.nan, "list": [1.5, math.inf]}))
    assert loaded == {"ci95": None, "list": [1.5, None]}
