import dataclasses

import pytest

from anil_tf.config import Tune
from anil_tf.tuning.search_directory import SearchDirectory

CONFIG = Tune(output_dir="d", dataset="fc100", data_dir="/a", tuner="random", augment=True)


@pytest.fixture
def directory(tmp_path):
    directory = SearchDirectory(tmp_path / "search")
    assert not directory.exists
    directory.prepare(CONFIG)
    return SearchDirectory(tmp_path / "search")


def test_the_same_settings_go_on(directory):
    assert directory.exists
    directory.check(CONFIG)
    elsewhere = {"data_dir": "/b", "trials": 9, "minutes": 1.0, "chief_timeout": 5.0}
    directory.check(dataclasses.replace(CONFIG, **elsewhere, output_dir="other"))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"tuner": "bayesian"}, "--tuner=random, received --tuner=bayesian"),
        ({"augment": False}, "--augment, received --noaugment"),
        ({"trial_epochs": 1}, "no --trial_epochs, received --trial_epochs=1"),
        ({"dataset": "image_folder", "data_dir": "/b"}, "--dataset=fc100"),
    ],
)
def test_other_settings_are_refused(directory, changed, words):
    with pytest.raises(ValueError, match=words) as error:
        directory.check(dataclasses.replace(CONFIG, **changed))
    assert "Choose another --output_dir" in str(error.value)


def test_a_folder_of_images_is_the_data(tmp_path):
    directory = SearchDirectory(tmp_path / "s")
    config = dataclasses.replace(CONFIG, dataset="image_folder")
    directory.prepare(config)
    with pytest.raises(ValueError, match="--data_dir=/a, received --data_dir=/b"):
        directory.check(dataclasses.replace(config, data_dir="/b"))


def test_what_is_no_search_is_left_alone(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="not empty and holds no search"):
        SearchDirectory(tmp_path)
    with pytest.raises(ValueError, match="found a file"):
        SearchDirectory(tmp_path / "file")


def test_a_trial_begins_with_a_copy_of_a_shorter_one_once(directory):
    short = directory.run("0000")
    assert not short.exists()
    (short / "checkpoints").mkdir(parents=True)
    (short / "checkpoints" / "state").write_text("3")
    (short / "score.json").write_text("{}")
    longer = directory.run("0005", goes_on_from="0000")
    assert (longer / "checkpoints" / "state").read_text() == "3"
    assert not (longer / "score.json").exists(), "it has none of its own yet"
    (longer / "checkpoints" / "state").write_text("9")
    assert directory.run("0005", goes_on_from="0000") == longer
    assert (longer / "checkpoints" / "state").read_text() == "9"
    assert (short / "checkpoints" / "state").read_text() == "3"


def test_one_process_at_a_time_holds_a_search(tmp_path):
    path = tmp_path / "s"
    with SearchDirectory(path).held():
        other = SearchDirectory(path)
        with pytest.raises(RuntimeError, match="another process searches in .*/s"), other.held():
            pass
    with SearchDirectory(path).held():  # a start that went no further left nothing in the way
        pass
