"""What the page asks of the model, over a model that needs no runtime."""

import base64
import json
import threading

import numpy as np
import pytest

from anil_tf.deploy.demo import images
from anil_tf.deploy.demo.service import MAX_EXAMPLES, Forgotten, Service
from tests.deploy.demo.fake_model import FakeModel


def picture(value=0, side=28):
    """An image file in base64: half dark, half of one grey."""
    pixels = np.zeros((side, side, 1), np.uint8)
    pixels[:, side // 2 :] = value
    return base64.b64encode(images.to_png(pixels)).decode()


@pytest.fixture
def service():
    return Service(FakeModel())


def test_it_adapts_and_names_as_the_model_does(service):
    examples, labels = [picture(v) for v in (0, 10, 200, 240)], [0, 0, 1, 1]
    adapted = service.adapt(examples, labels)
    answered = service.predict(adapted["state"], [picture(5), picture(230)])
    pixels = [images.decode(base64.b64decode(p), (28, 28, 1)) for p in examples]
    model = FakeModel()
    new = [images.decode(base64.b64decode(picture(v)), (28, 28, 1)) for v in (5, 230)]
    expected = model.predict(np.stack(new), model.adapt(np.stack(pixels), np.array(labels)))
    np.testing.assert_array_equal(np.float32(answered["probabilities"]), expected)
    assert np.argmax(answered["probabilities"], axis=1).tolist() == [0, 1]
    assert adapted["milliseconds"] > 0 and answered["milliseconds"] > 0


def test_everything_said_is_json(service):
    adapted = service.adapt([picture(0), picture(200)], [0, 1])
    for said in (
        service.about(),
        service.prepare(base64.b64decode(picture(9))),
        adapted,
        service.predict(adapted["state"], [picture(3)]),
        service.confusion([picture(v) for v in (0, 9, 200)], [0, 0, 1]),
    ):
        assert json.loads(json.dumps(said, allow_nan=False)) == said


def test_about_gives_the_facts_that_are_known():
    about = Service(FakeModel()).about()
    assert about["facts"]["accuracy"] == 0.9482 and about["facts"]["dataset"] == "glyphs"
    assert about["ways"] is None and about["image_shape"] == [28, 28, 1]
    unmeasured = Service(FakeModel(measured={}, protocol={}, size_bytes={})).about()["facts"]
    assert "accuracy" not in unmeasured and unmeasured["format"] == "saved_model"


def test_confusion_is_leave_one_out(service):
    found = service.confusion([picture(v) for v in (0, 20, 220, 250, 30)], [0, 0, 1, 1, 1])
    # 30 lies among class 0, and draws class 1's mean towards it.
    assert found["counts"][1][0] == 1 and found["counts"][0] == [2, 0]
    assert found["tested"] == found["testable"] == 5


def test_the_oldest_states_are_forgotten(service):
    first = service.adapt([picture(0), picture(200)], [0, 1])["state"]
    for _ in range(15):
        last = service.adapt([picture(0), picture(200)], [0, 1])["state"]
        service.predict(first, [picture(1)])  # in use, so not the oldest
    for _ in range(16):
        last = service.adapt([picture(0), picture(200)], [0, 1])["state"]
    service.predict(last, [picture(1)])
    for state in (first, "made up", None, 7, ["x"]):
        with pytest.raises(Forgotten):
            service.predict(state, [picture(1)])


@pytest.mark.parametrize(
    ("examples", "labels", "words"),
    [
        ([picture(), picture(9)], [0, 2], "each class 0..n-1"),
        ([picture(), picture(9)], [0, 10**30], "each class 0..n-1"),
        ([picture(), picture(9)], [-1, 0], "each class 0..n-1"),
        ([picture(), picture(9)], [0, True], "as many labels"),
        ([picture(), picture(9)], [0, 1.0], "as many labels"),
        ([picture()], [0, 1], "as many labels"),
        ("images", [0, 1], "as many labels"),
        ([], [], "a list of 1 to"),
        (["not base64", picture()], [0, 1], "base64"),
        ([None, picture()], [0, 1], "base64"),
        (["aGVsbG8=", picture()], [0, 1], "no image that can be read"),
        ([picture()] * (MAX_EXAMPLES + 1), [0] * (MAX_EXAMPLES + 1), f"1 to {MAX_EXAMPLES}"),
    ],
)
def test_bad_examples_are_refused_in_one_line(service, examples, labels, words):
    for ask in (service.adapt, service.confusion):
        with pytest.raises(ValueError, match=words):
            ask(examples, labels)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"takes_images": False}, "answers with numbers"),
        ({"image_shape": [28, 28, 4]}, "4 channels"),
        ({"signatures": ["adapt_and_predict"], "format": "stablehlo"}, "saved_model or litert"),
    ],
)
def test_exports_that_the_page_cannot_use_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        Service(FakeModel(**changes))


@pytest.mark.parametrize("ways", [None, 5])
def test_warming_up_takes_as_many_classes_as_the_model(ways):
    model = FakeModel(ways)
    Service(model).warm_up()
    assert model.adapted == 1


def test_an_answer_that_is_no_number_is_an_error(service, monkeypatch):
    state = service.adapt([picture(0), picture(200)], [0, 1])["state"]
    monkeypatch.setattr(FakeModel, "predict", lambda *_: np.full((1, 2), np.nan))
    with pytest.raises(ArithmeticError):
        service.predict(state, [picture(1)])


def test_many_threads_get_their_own_answers():
    service, wrong = Service(FakeModel()), []

    def use(low, high):
        for _ in range(5):
            state = service.adapt([picture(low), picture(high)], [0, 1])["state"]
            answered = service.predict(state, [picture(low)])["probabilities"][0]
            if np.argmax(answered) != 0:
                wrong.append((low, high))

    pairs = [(0, 200), (200, 0), (40, 250), (250, 40)]
    threads = [threading.Thread(target=use, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
