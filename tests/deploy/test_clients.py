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


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Newcomers' folders: files of every kind, what is no image, empty folders, one class, none."""
    place = tmp_path_factory.mktemp("pictures")
    support, labels, _ = pixels()
    every, kinds = place / "every", ("png", "jpg", "bmp", "gif", "webp", "PNG")
    for number, (image, label) in enumerate(zip(support, labels, strict=True)):
        folder = every / NAMES[label]
        folder.mkdir(parents=True, exist_ok=True)
        grey = Image.fromarray(image[..., 0])
        picture = grey.convert("RGBA") if kinds[number] == "PNG" else grey.convert("RGB")
        picture = grey.convert("LA") if kinds[number] == "png" else picture
        exact = {"lossless": True} if kinds[number] == "webp" else {}
        picture.save(folder / f"{number}.{kinds[number]}", **exact)
    for name in ("notes.txt", ".hidden.png"):
        (every / NAMES[0] / name).write_text("no image")
    for name in ("empty", ".thumbnails"):
        (every / name).mkdir()
    (every / "a file.png").write_text("in no class")
    Image.fromarray(support[0, ..., 0]).save(every / ".thumbnails" / "0.png")
    (place / "one" / "circle").mkdir(parents=True)
    Image.fromarray(support[0, ..., 0]).save(place / "one" / "circle" / "0.png")
    for name in NAMES:
        (place / "broken" / name).mkdir(parents=True)
        (place / "broken" / name / "0.jpg").write_text("no image")
    return place


def test_files_of_every_kind_are_examples_and_the_rest_is_passed_over(place, pictures):
    """As in training: grey networks see colour images in grey, and transparency is dropped."""
    paths = [path for path in sorted((pictures / "every").glob("[!.]*/[0-9].*"))]
    assert len({path.suffix for path in paths}) == 6
    done = client(place, str(pictures / "every"), *map(str, paths))
    assert done.returncode == 0, done.stderr
    images = np.stack([np.array(Image.open(path).convert("L"))[..., None] for path in paths])
    names = [path.parent.name for path in paths]
    model = exported.load(place / "export")
    expected = model.predict(images, model.adapt(images, [sorted(NAMES).index(n) for n in names]))
    lines = done.stdout.strip().splitlines()
    for line, path, row in zip(lines, paths, expected, strict=True):
        said, _, answers = line.partition(": ")
        assert said == str(path)
        found = dict(answer.split() for answer in answers.split(", "))
        assert set(found) == set(NAMES)
        for name, share in zip(sorted(NAMES), row, strict=True):
            assert float(found[name].rstrip("%")) == pytest.approx(100 * share, abs=3)


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("nowhere", "nowhere: expected 2 or more image folders, found 0."),
        ("one", "one: expected 2 or more image folders, found 1."),
        ("broken", "broken/circle/0.jpg: expected a file that TensorFlow can read as one of .png,"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said_in_one_line(place, pictures, folder, said):
    done = client(place, str(pictures / folder), "query0.png")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith(f"{pictures}/{said}")
    assert "Traceback" not in done.stderr


def test_an_image_that_is_not_there_is_said_in_one_line(place):
    done = client(place, "examples", "query0.png", "query9.png")
    assert done.returncode == 1 and done.stderr.strip().splitlines()[-1].startswith("query9.png: ")
    assert "Traceback" not in done.stderr


def test_a_free_head_says_how_many_classes_it_takes(place, pictures, tmp_path):
    export(learner_of("free"), tmp_path / "export")
    shutil.copy(CLIENT, tmp_path / "export" / "client.py")
    done = client(tmp_path, str(pictures / "one"), str(place / "query0.png"))
    assert done.returncode == 1
    assert "one: expected 3 image folders, found 1." in done.stderr.strip().splitlines()[-1]
