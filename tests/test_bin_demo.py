"""Drives bin/demo.py: bad flags, a real export behind the page compared with the Keras model, and its end."""

import base64
import importlib.util
import json
import signal
import socket
import subprocess
import sys
import urllib.request

import numpy as np
import pytest

from anil_tf.deploy.demo import images
from tests.deploy import exports
from tests.deploy.demo import binary, strokes
from tests.deploy.demo.browser import open_browser
from tests.deploy.learners import learner_of, pixels


@pytest.fixture(scope="module")
def learner():
    return learner_of("prototype")


@pytest.fixture(scope="module", params=["saved_model", "litert"])
def export_dir(learner, tmp_path_factory, request):
    if request.param == "litert" and not importlib.util.find_spec("ai_edge_litert"):
        pytest.skip("no ai-edge-litert: pip install 'anil_tf[deploy]'")
    directory = tmp_path_factory.mktemp(request.param)
    return exports.export(learner, directory, format_name=request.param)


@pytest.fixture(scope="module")
def address(export_dir):
    with binary.started(export_dir) as (_, url):
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
    support, labels, queries = pixels(ways=ways)
    support, queries = (np.asarray(one).astype(np.uint8) for one in (support, queries))
    adapted = post(address, "api/adapt", images=in_base64(support), labels=labels.tolist())
    answered = post(address, "api/predict", state=adapted["state"], images=in_base64(queries))
    # Exports use the statistics of the examples, as adapt() does.
    expected = learner.adapt(support, labels).predict(queries)
    np.testing.assert_allclose(answered["probabilities"], expected, atol=1e-4)
    assert np.ptp(expected) > 0.1, "the answers were meant to differ"


def test_what_confuses_it_is_leave_one_out_of_the_keras_model(address, learner):
    support, labels, _ = pixels(shots=3, seed=1)
    support = np.asarray(support).astype(np.uint8)
    found = post(address, "api/confusion", images=in_base64(support), labels=labels.tolist())
    expected = np.zeros_like(found["counts"])
    for index, label in enumerate(labels):
        others = np.arange(len(labels)) != index
        classifier = learner.adapt(support[others], labels[others])
        expected[label, classifier.classify(support[index])[0]] += 1
    np.testing.assert_array_equal(found["counts"], expected)
    assert found["tested"] == found["testable"] == len(labels)


def test_three_classes_of_strokes_in_a_browser(address):
    with open_browser() as browser:
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


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "--export_dir: expected a directory"),
        (
            ["--export_dir=nowhere"],
            "--export_dir=nowhere: nowhere: expected a directory that bin/export.py wrote",
        ),
        (["--export_dir=EXPORT", "--port=70000"], "--port=70000"),
        (["--export_dir=EXPORT", "--port=TAKEN"], "--port=0 takes any that is"),
        (["--export_dir=EXPORT", "--host=no.such.host.invalid"], "--host=no.such.host.invalid"),
        (["--export_dir=EXPORT", "--host="], "--host"),
        (["--export_dir=EXPORT", "--host=a..b"], "--host=a..b"),
        (["--export_dir=EXPORT", "--port=0", "--variant=int3"], "expected one of float32"),
    ],
)
def test_bad_flags_get_one_line(export_dir, flags, words):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = {"EXPORT": str(export_dir), "TAKEN": str(taken.getsockname()[1])}
        for name, value in place.items():
            flags = [flag.replace(name, value) for flag in flags]
        done = subprocess.run(binary.command(*flags), capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_a_damaged_export_gets_one_line(tmp_path):
    (tmp_path / "export.json").write_text("{")
    command = binary.command(f"--export_dir={tmp_path}", "--port=0")
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "export.json" in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize(
    ("normalization", "left_out", "words"),
    [
        ("episode", None, "--normalization=support"),
        ("support", None, "--format=saved_model or litert"),
        ("support", "signatures", "received none on signatures"),
    ],
)
def test_an_export_of_no_use_is_refused_before_it_is_loaded(
    tmp_path, normalization, left_out, words
):
    facts = {"format": "stablehlo", "variants": {"float32": "none"}, "image_shape": [28, 28, 1]}
    facts |= {
        "signatures": ["adapt_and_predict"],
        "ways": 5,
        "state": [],
        "normalization": normalization,
    }
    (tmp_path / "export.json").write_text(
        json.dumps({name: value for name, value in facts.items() if name != left_out})
    )
    command = binary.command(f"--export_dir={tmp_path}", "--port=0")
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and words in done.stderr, done.stderr
    assert f"--export_dir={tmp_path}: " in done.stderr and done.stderr.count("\n") == 1


def test_an_export_whose_files_are_gone_gets_one_line(export_dir, tmp_path):
    (tmp_path / "export.json").write_text((export_dir / "export.json").read_text())
    command = binary.command(f"--export_dir={tmp_path}", "--port=0")
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and f"--export_dir={tmp_path}: " in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_nothing_was_written(export_dir, number, tmp_path):
    home, empty = tmp_path / "home", tmp_path / "empty"
    home.mkdir()
    empty.mkdir()

    def files():
        return {
            path: path.stat().st_mtime_ns for top in (export_dir, home) for path in top.rglob("*")
        }

    place = {"HOME": str(home), "XDG_CACHE_HOME": str(home), "TMPDIR": str(empty)}
    started = binary.started(export_dir, "--host=0.0.0.0", cwd=empty, **place)
    with started as (process, url):
        before = files()  # Keras and matplotlib, where they are imported, set up a new home
        line = process.stdout.readline()
        if line.startswith("On a phone in the same network: http://"):  # not where there is none
            line = process.stdout.readline()
        assert "Everybody who can reach this machine" in line
        examples = {"images": in_base64(pixels()[0]), "labels": pixels()[1].tolist()}
        state = post(url, "api/adapt", **examples)["state"]
        post(url, "api/predict", state=state, images=examples["images"][:1])
        post(url, "api/confusion", **examples)
        process.send_signal(number)
        output, error = process.communicate(timeout=60)
    said = [line for line in error.splitlines() if not line.startswith("INFO: ")]  # LiteRT's own
    assert (process.returncode, said) == (0, [])
    assert output.strip() == "Stopped."
    assert files() == before
    assert list(empty.iterdir()) == []


def test_a_litert_export_needs_no_tensorflow(learner, tmp_path, repository):
    pytest.importorskip("ai_edge_litert", reason="no ai-edge-litert: pip install 'anil_tf[deploy]'")
    exports.export(learner, tmp_path / "litert", format_name="litert")
    support, labels, queries = pixels()
    task = {"images": in_base64(support), "labels": labels.tolist()}
    (tmp_path / "task.json").write_text(json.dumps(task | {"queries": in_base64(queries)}))
    program = f"""
import json, sys
sys.modules.update(tensorflow=None, keras=None)
sys.path.insert(0, {str(repository)!r})
from anil_tf.deploy import exported
from anil_tf.deploy.demo import server
from anil_tf.deploy.demo.service import Service
task = json.load(open("task.json"))
service = Service(exported.load("litert"))
service.warm_up()
state = service.adapt(task["images"], task["labels"])["state"]
print(json.dumps(service.predict(state, task["queries"])["probabilities"]))
assert not any(name.startswith(("tensorflow.", "keras.")) for name in sys.modules)
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    expected = learner.adapt(support, labels).predict(queries)
    np.testing.assert_allclose(json.loads(done.stdout), expected, atol=1e-4)
