"""Serves the page of an export: its answers are the Keras model's, in a browser too; its end; what is refused."""

import base64
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.request

import numpy as np
import pytest

import anil_tf
from anil_tf.commands.demo import DemoServer
from anil_tf.deploy import exported
from anil_tf.deploy.demo import images
from anil_tf.deploy.demo.service import Service
from tests.command_line import refuse, start
from tests.deploy import exports
from tests.deploy.demo import strokes
from tests.deploy.demo.browser import open_browser
from tests.deploy.learners import make_learner, pixels


@pytest.fixture(scope="module")
def learner(small_run):
    return anil_tf.load(small_run.directory)


@pytest.fixture(scope="module", params=["saved_model", "litert"])
def export_dir(small_export, request):
    return small_export(request.param)


@contextlib.contextmanager
def served(export_dir):
    """The address of the page of an export."""
    server = DemoServer("127.0.0.1", 0)
    thread = threading.Thread(target=server.serve, args=[Service(exported.load(export_dir))])
    thread.start()
    try:
        yield server.url
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def address(export_dir):
    with served(export_dir) as url:
        yield url


def post(url, path, **fields):
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url + path, json.dumps(fields).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def in_base64(pictures):
    return [base64.b64encode(images.to_png(picture)).decode() for picture in pictures]


@pytest.mark.parametrize("ways", [3, 5])
def test_the_page_answers_as_the_keras_model_does(address, learner, ways):
    support, labels, queries = pixels(ways=ways, channels=3)
    adapted = post(address, "api/adapt", images=in_base64(support), labels=labels.tolist())
    answered = post(address, "api/predict", state=adapted["state"], images=in_base64(queries))
    # Exports use the statistics of the examples, as adapt() does, and a temperature.
    expected = learner.adapt(support, labels).predict(queries)
    found = np.asarray(answered["probabilities"])
    np.testing.assert_array_equal(found.argmax(-1), expected.argmax(-1))
    ratios = np.log(found[:, 0] / found[:, 1]) / np.log(expected[:, 0] / expected[:, 1])
    np.testing.assert_allclose(ratios, ratios[0], rtol=2e-2)
    assert np.ptp(expected) > 0.1, "the answers were meant to differ"


def test_what_confuses_it_is_leave_one_out_of_the_keras_model(address, learner):
    support, labels, _ = pixels(shots=3, seed=1, channels=3)
    found = post(address, "api/confusion", images=in_base64(support), labels=labels.tolist())
    expected = np.zeros_like(found["counts"])
    for index, label in enumerate(labels):
        others = np.arange(len(labels)) != index
        classifier = learner.adapt(support[others], labels[others])
        expected[label, classifier.classify(support[index])[0]] += 1
    np.testing.assert_array_equal(found["counts"], expected)
    assert found["tested"] == found["testable"] == len(labels)


def test_three_classes_of_strokes_in_a_browser(tmp_path):
    # Random filters tell strokes apart; those that were trained on patches of colour do not.
    learner = make_learner(filters=32, head_initialization="prototype")
    export_dir = exports.export(learner, tmp_path / "export")
    with served(export_dir) as address, open_browser() as browser:
        browser.resize(1100, 900)
        browser.go(address)
        browser.wait("return document.body.dataset.ready")
        strokes.teach(browser)
        browser.wait(
            "return document.querySelector('#progress').textContent.includes('6 examples')"
        )
        for name, character in strokes.CHARACTERS.items():
            assert strokes.answer(browser, *character(seed=5)).startswith(f"{name}, ")
        assert browser.log() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_nothing_was_written(export_dir, number, tmp_path, monkeypatch):
    serve, answers = DemoServer.serve, []

    def visit(url):
        support, labels, _ = pixels(channels=3)
        examples = {"images": in_base64(support), "labels": labels.tolist()}
        try:
            state = post(url, "api/adapt", **examples)["state"]
            answers.append(post(url, "api/predict", state=state, images=examples["images"][:1]))
            answers.append(post(url, "api/confusion", **examples))
        finally:
            os.kill(os.getpid(), number)

    def serve_a_visitor(server, service, **options):
        visitor = threading.Thread(target=visit, args=[server.url])
        visitor.start()
        try:
            serve(server, service, **options)
        finally:
            visitor.join()

    def files():
        return {path: path.stat().st_mtime_ns for path in export_dir.rglob("*")}

    before = files()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(DemoServer, "serve", serve_a_visitor)
    answer = start("demo", f"--export_dir={export_dir}", "--port=0", "--host=0.0.0.0")
    lines = answer.output.splitlines()
    assert (answer.code, lines[-1], len(answers)) == (0, "Stopped.", 2), answer
    assert lines[0].startswith("Open http://127.0.0.1:")
    assert any(line.startswith("Everybody who can reach this machine") for line in lines)
    assert files() == before and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "--export_dir: expected a directory, received none"),
        (["--export_dir=nowhere"], "--export_dir=nowhere: .*directory that bin/export.py wrote"),
        (["--export_dir=EXPORT", "--port=70000"], "--port=70000"),
        (["--export_dir=EXPORT", "--port=TAKEN"], "--port=0 takes any that is"),
        (["--export_dir=EXPORT", "--host=no.such.host.invalid"], "--host=no.such.host.invalid"),
        (["--export_dir=EXPORT", "--host="], "--host"),
        (["--export_dir=EXPORT", "--host=a..b"], "--host=a..b"),
        (["--export_dir=EXPORT", "--port=0", "--variant=int3"], "expected one of float32"),
    ],
    ids=str,
)
def test_bad_flags_get_one_line(export_dir, flags, said):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = {"EXPORT": str(export_dir), "TAKEN": str(taken.getsockname()[1])}
        for name, value in place.items():
            flags = [flag.replace(name, value) for flag in flags]
        assert not refuse(said, "demo", *flags).output


FACTS = {
    "format": "stablehlo",
    "variants": {"float32": "none"},
    "image_shape": [28, 28, 1],
    "signatures": ["adapt_and_predict"],
    "ways": 5,
    "state": [],
    "normalization": "support",
}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "export.json"),
        (json.dumps(FACTS), "--format=saved_model or litert"),
        (json.dumps(FACTS | {"normalization": "episode"}), "--normalization=support"),
        (
            json.dumps({name: FACTS[name] for name in FACTS if name != "signatures"}),
            "received none on signatures",
        ),
    ],
)
def test_an_export_of_no_use_is_refused_before_it_is_loaded(tmp_path, text, said, monkeypatch):
    monkeypatch.setattr(exported, "load", lambda *_: pytest.fail("loaded"))
    (tmp_path / "export.json").write_text(text)
    refuse(f"--export_dir={tmp_path}: .*{said}", "demo", f"--export_dir={tmp_path}", "--port=0")


def test_an_export_whose_files_are_gone_gets_one_line(export_dir, tmp_path):
    shutil.copy(export_dir / "export.json", tmp_path)
    refuse(f"--export_dir={tmp_path}: ", "demo", f"--export_dir={tmp_path}", "--port=0")


def test_a_litert_export_needs_no_tensorflow(small_export, tmp_path, repository):
    """Not to be loaded, and not for the page behind it."""
    export_dir = small_export("litert")
    support, labels, queries = pixels(channels=3)
    task = {"images": in_base64(support), "labels": labels.tolist()}
    (tmp_path / "task.json").write_text(json.dumps(task | {"queries": in_base64(queries)}))
    program = f"""
import json, sys
sys.modules.update(tensorflow=None, keras=None)
sys.path.insert(0, {str(repository)!r})
from anil_tf.deploy import exported
from anil_tf.commands.demo import Service
task = json.load(open("task.json"))
service = Service(exported.load({str(export_dir)!r}))
service.warm_up()
state = service.adapt(task["images"], task["labels"])["state"]
print(json.dumps(service.predict(state, task["queries"])["probabilities"]))
assert not any(name.startswith(("tensorflow.", "keras.")) for name in sys.modules)
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    model = exported.load(export_dir)
    expected = model.predict(queries, model.adapt(support, labels))
    np.testing.assert_allclose(json.loads(done.stdout), expected, atol=1e-4)
