"""The client that is copied into a SavedModel export: short, of TensorFlow alone, and right."""

import ast
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from anil_tf.deploy import clients, exported
from tests.deploy.exports import export
from tests.deploy.learners import learner_of, pixels

CLIENT = pathlib.Path(clients.__file__).with_name("saved_model.py")
NAMES = ("circle", "square", "star")


def test_it_is_short_and_needs_little():
    text = CLIENT.read_text()
    assert len(text.splitlines()) < 40
    imported = {
        name.name.partition(".")[0]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import)
        for name in node.names
    }
    assert not any(isinstance(node, ast.ImportFrom) for node in ast.walk(ast.parse(text)))
    assert imported <= {*sys.stdlib_module_names, "numpy", "tensorflow"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """An export with its client, a folder of examples, and images to name."""
    place = tmp_path_factory.mktemp("client")
    export(learner_of("prototype"), place / "export")
    shutil.copy(CLIENT, place / "export" / "client.py")
    support, labels, queries = pixels()
    for number, (image, label) in enumerate(zip(support, labels, strict=True)):
        folder = place / "examples" / NAMES[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0]).save(folder / f"{number}.png")
    for number, image in enumerate(queries):
        Image.fromarray(image[..., 0]).convert("RGB").save(place / f"query{number}.png")
    return place


def client(place, *arguments):
    command = [sys.executable, "export/client.py", *arguments]
    return subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=300)


def test_it_names_images_as_the_export_does(place):
    queries = sorted(path.name for path in place.glob("query*.png"))
    done = client(place, "examples", *queries)
    assert done.returncode == 0, done.stderr
    support, labels, images = pixels()
    model = exported.load(place / "export")
    expected = model.predict(images, model.adapt(support, labels))
    lines = done.stdout.strip().splitlines()
    for line, name, probabilities in zip(lines, queries, expected, strict=True):
        said, _, answers = line.partition(": ")
        first = answers.split(", ")[0]
        best = int(np.argmax(probabilities))
        assert said == name
        assert first == f"{NAMES[best]} {probabilities[best]:.1%}"
        assert set(NAMES) == {answer.split()[0] for answer in answers.split(", ")}


def test_without_arguments_it_says_how_it_is_called(place):
    done = client(place)
    assert done.returncode == 1
    assert "python client.py EXAMPLES_DIR IMAGE..." in done.stderr
