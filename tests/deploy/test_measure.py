"""What is said of an export is what its files do."""

import numpy as np
import pytest

from anil_tf.deploy import exported, measure, temperature
from anil_tf.deploy.signatures import Signatures
from anil_tf.episodes.class_images import from_classes
from anil_tf.episodes.tasks import Tasks
from anil_tf.evaluation import calibration, evaluate
from tests.deploy.learners import learner_of


@pytest.fixture(scope="module")
def tasks():
    """Tasks on classes that are coarse patterns, seen through noise."""
    rng = np.random.default_rng(5)
    patterns = np.kron(rng.uniform(0, 255, (8, 1, 2, 2, 1)), np.ones((1, 1, 8, 8, 1)))
    images = patterns + rng.normal(0, 40, (8, 12, 16, 16, 1))
    source = from_classes(
        list(np.clip(images, 0, 255).astype(np.uint8)), [str(c) for c in range(8)], "made"
    )
    sizes = {"ways": 3, "shots": 2, "queries": 4, "meta_batch_size": 4, "seed": 0}
    return Tasks(name="made", split="test", source=source, **sizes)


@pytest.fixture(scope="module")
def learner():
    return learner_of("prototype").replace(normalization="support", ways=3)


def test_accuracy_is_that_of_the_learner_under_the_exported_normalization(
    learner, saved_model, tasks
):
    found = measure.accuracy(exported.load(saved_model), tasks, episodes=10, progress=False)
    expected = evaluate(learner, tasks, episodes=10, progress=False)
    np.testing.assert_allclose(found.per_episode, expected.per_episode, atol=1e-9)
    assert (found.episodes, found.metric) == (10, "accuracy")
    assert 0.4 < found.accuracy < 1, "neither chance nor certainty, or this test says nothing"
    # The probabilities of the file are those of its temperature.
    assert found.ece != pytest.approx(expected.ece, abs=1e-3)


def test_the_temperature_minimizes_the_loss_of_the_validation_episodes(learner, tasks):
    signatures = Signatures(learner, normalization="support")
    fitted = temperature.fit(signatures, tasks, episodes=9)
    logits, labels = temperature._answers(signatures, tasks, 9)
    assert logits.shape == (9, 12, 3)
    assert (fitted.episodes, fitted.ways) == (9, 3)
    assert fitted.value == pytest.approx(calibration.fit_temperature(logits, labels))
    before = calibration.expected_calibration_error(logits, labels)
    after = calibration.expected_calibration_error(logits / fitted.value, labels)
    assert (fitted.error_before, fitted.error_after) == (before, after)
    assert temperature.fit(signatures, tasks, episodes=0) == temperature.Temperature()


def test_episodes_without_a_mistake_make_nobody_certain(learner, tasks, monkeypatch):
    right = np.array([[[3.0, 0.0], [0.0, 1.0]]]), np.array([[0, 1]])
    monkeypatch.setattr(temperature, "_answers", lambda *_: right)
    fitted = temperature.fit(Signatures(learner, normalization="support"), tasks, episodes=1)
    assert fitted.value == 1


def test_latency_has_the_first_call_and_later_ones(saved_model, tasks):
    loads = []

    def load():
        loads.append(exported.load(saved_model))
        return loads[-1]

    found = measure.latency(load, tasks)
    assert found["images"] == 6
    assert len(loads) == found["load"]["calls"] == 3
    for name in ("adapt", "predict", "adapt_and_predict"):
        for times in found[name].values():
            lower, upper = times["quartiles"]
            assert 0 < lower <= times["median"] <= upper
        assert found[name]["warm"]["calls"] >= 5
        # The first call traces and plans; it is the reason why both are said.
        assert found[name]["cold"]["median"] > found[name]["warm"]["median"]


def test_size_counts_every_file(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_bytes(b"12345")
    (tmp_path / "b").write_bytes(b"123")
    assert measure.size(tmp_path) == 8
    assert measure.size(tmp_path / "b") == 3
