"""What the page asks of the model, over a model that needs no runtime."""

import base64
import json
import threading
import time

import numpy as np
import pytest

from anil_tf.deploy.demo import images
from anil_tf.deploy.demo.service import MAX_EXAMPLES, Forgotten, Service
from tests.deploy.demo.fake_model import FakeModel

MAX_UPLOAD = 20 * 2**20


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
        service.about(MAX_UPLOAD),
        service.prepare(base64.b64decode(picture(9))),
        adapted,
        service.predict(adapted["state"], [picture(3)]),
        service.confusion([picture(v) for v in (0, 9, 200)], [0, 0, 1]),
    ):
        assert json.loads(json.dumps(said, allow_nan=False)) == said


def test_about_gives_the_facts_that_are_known():
    about = Service(FakeModel()).about(MAX_UPLOAD)
    assert about["facts"]["accuracy"] == 0.9482 and about["facts"]["dataset"] == "glyphs"
    assert about["ways"] is None and about["image_shape"] == [28, 28, 1]
    unmeasured = Service(FakeModel(measured={}, protocol={}, size_bytes={})).about(MAX_UPLOAD)[
        "facts"
    ]
    assert "accuracy" not in unmeasured and unmeasured["format"] == "saved_model"


@pytest.mark.parametrize("shape", [(28, 28, 1), (84, 84, 3), (224, 224, 3), (1000, 1000, 3)])
def test_as_many_examples_as_are_promised_fit_in_a_request(shape):
    most = Service(FakeModel(image_shape=list(shape))).about(MAX_UPLOAD)["max_examples"]
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    image = base64.b64encode(images.to_png(noise)).decode()
    one = len(json.dumps({"images": [image], "labels": [499], "state": "x" * 22}))
    more = len(json.dumps([image, image])) - len(json.dumps([image])) + len(", 499")
    assert one + (most - 1) * more <= MAX_UPLOAD
    assert most == MAX_EXAMPLES or one + 1.02 * most * more > MAX_UPLOAD, "more would fit"


def test_the_time_told_is_that_of_the_model_without_waiting():
    class SlowAtFirst(FakeModel):
        def adapt(self, images, labels):
            if not self.adapted:
                self.adapted += 1
                begun.set()
                time.sleep(0.5)
            return super().adapt(images, labels)

    begun, told = threading.Event(), []
    service, examples = Service(SlowAtFirst()), [picture(0), picture(200)]
    first = threading.Thread(target=lambda: told.append(service.adapt(examples, [0, 1])))
    first.start()
    begun.wait()
    begin = time.perf_counter()
    second = service.adapt(examples, [0, 1])["milliseconds"]
    waited = 1000 * (time.perf_counter() - begin)
    first.join()
    assert told[0]["milliseconds"] >= 500
    assert waited > 300 and second < 200


@pytest.mark.parametrize("request_", ["adapt", "predict"])
def test_what_confuses_it_gives_way_to_what_somebody_waits_for(request_):
    class Slow(FakeModel):
        def adapt(self, images, labels):
            time.sleep(0.02)
            return super().adapt(images, labels)

    model = Slow()
    service, examples = Service(model), [picture(v) for v in range(0, 200, 2)]
    labels = [i % 2 for i in range(len(examples))]
    state = service.adapt(examples, labels)["state"]
    found = []
    thread = threading.Thread(target=lambda: found.append(service.confusion(examples, labels)))
    thread.start()
    while model.adapted < 3:
        time.sleep(0.001)
    if request_ == "adapt":
        told = service.adapt(examples, labels)["milliseconds"]
    else:
        told = service.predict(state, examples[:1])["milliseconds"]
    thread.join()
    assert told < 500
    assert found[0]["interrupted"] and 0 < found[0]["tested"] < found[0]["testable"] == 100
    assert not service.confusion(examples[:4], labels[:4])["interrupted"]


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
        (
            {"signatures": ["adapt_and_predict", "embed"], "normalization": "episode"},
            "examples and new images together.*--normalization=support",
        ),
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
