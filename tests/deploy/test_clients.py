"""The programs that are copied into an export: short, of its runtime and NumPy alone, and right."""

import ast
import logging
import runpy
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from anil_tf.deploy import exported
from tests.deploy.exports import CLIENTS, export
from tests.deploy.learners import learner_of, pixels

NAMES = ("circle", "square", "star")


@pytest.mark.parametrize(
    ("name", "runtime"),
    [
        ("saved_model", {"tensorflow"}),
        ("litert", {"ai_edge_litert"}),
        ("stablehlo", {"jax", "jaxlib"}),
    ],
)
def test_it_is_short_and_needs_little(name, runtime):
    text = (CLIENTS / f"{name}.py").read_text()
    assert len(text.splitlines()) < 40
    nodes = list(ast.walk(ast.parse(text)))
    modules = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    modules += [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    packages = {module.partition(".")[0] for module in modules}
    assert packages <= {*sys.stdlib_module_names, "numpy", *runtime}


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the client of an export here; returns the lines it prints and what it ends with."""
    level = logging.getLogger("absl").level

    def run(directory, *arguments):
        monkeypatch.setattr(sys, "argv", ["client.py", *map(str, arguments)])
        error = None
        try:
            runpy.run_path(str(directory / "client.py"), run_name="__main__")
        except SystemExit as ended:
            error = ended.code
        lines = capsys.readouterr().out.splitlines()
        return [line for line in lines if ": " in line], error

    yield run
    logging.getLogger("absl").setLevel(level)


def said(names, rows, classes):
    """A line for each row of probabilities, the likeliest class first."""
    ranked = [[f"{classes[c]} {row[c]:.1%}" for c in np.argsort(-row)] for row in rows]
    return [f"{name}: {', '.join(line)}" for name, line in zip(names, ranked, strict=True)]


# ---- SavedModel ------------------------------------------------------------------------------------------------------


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
        mode = {"png": "LA", "PNG": "RGBA"}.get(kinds[number], "RGB")
        exact = {"lossless": True} if kinds[number] == "webp" else {}
        grey.convert(mode).save(folder / f"{number}.{kinds[number]}", **exact)
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


def test_where_there_is_tensorflow_alone_it_names_images_as_the_export_does(saved_model, pictures):
    """Files of every kind are read as in training: grey where the network is, without transparency."""
    paths = sorted((pictures / "every").glob("[!.]*/[0-9].*"))
    assert len({path.suffix for path in paths}) == 6
    program = (
        "import runpy, sys; sys.modules['anil_tf'] = None; del sys.argv[0]; "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    command = [sys.executable, "-c", program, saved_model / "client.py", pictures / "every", *paths]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    images = np.stack([np.array(Image.open(path).convert("L"))[..., None] for path in paths])
    labels = [NAMES.index(path.parent.name) for path in paths]
    model = exported.load(saved_model)
    expected = model.predict(images, model.adapt(images, labels))
    lines = [line for line in done.stdout.splitlines() if ": " in line]
    for line, path, row in zip(lines, paths, expected, strict=True):
        name, _, answers = line.partition(": ")
        assert name == str(path)
        found = dict(answer.split() for answer in answers.split(", "))
        assert set(found) == set(NAMES)
        for name, share in zip(NAMES, row, strict=True):  # TensorFlow decodes JPEG in its own way
            assert float(found[name].rstrip("%")) == pytest.approx(100 * share, abs=3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "python client.py EXAMPLES_DIR IMAGE..."),
        (["nowhere", "x.png"], "nowhere: expected 2 or more image folders, found 0."),
        (["one", "x.png"], "one: expected 2 or more image folders, found 1."),
        (["broken", "x.png"], "broken/circle/0.jpg: expected a file that TensorFlow can read as"),
        (["every", "x.png"], "x.png: expected a file that TensorFlow can read as one of .png,"),
    ],
)
def test_what_is_wrong_with_folders_and_images_is_said(
    run, saved_model, pictures, monkeypatch, arguments, message
):
    monkeypatch.chdir(pictures)
    _, error = run(saved_model, *arguments)
    assert message in error
    assert error.startswith(message) or not arguments


def test_a_free_head_says_how_many_classes_it_takes(run, pictures, tmp_path):
    place = export(learner_of("free"), tmp_path / "export")
    shutil.copy(CLIENTS / "saved_model.py", place / "client.py")
    _, error = run(place, pictures / "one", "x.png")
    assert error.endswith("one: expected 3 image folders, found 1.")


# ---- LiteRT ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    """Examples of three classes and queries, and files with something wrong."""
    place = tmp_path_factory.mktemp("arrays")
    support, labels, queries = pixels()
    classes = {name: support[labels == i] for i, name in enumerate(("cat", "dog", "a hen"))}
    np.savez(place / "examples.npz", **classes)
    np.save(place / "queries.npy", queries)
    (place / "empty.npy").touch()
    np.savez(place / "one.npz", cat=support[:1])
    np.savez(place / "colour.npz", cat=support[:1], dog=np.repeat(support[1:2], 3, axis=-1))
    return place


@pytest.mark.parametrize("variant", [(), ("int8",)])
def test_it_names_arrays_as_the_litert_export_does(run, litert, arrays, monkeypatch, variant):
    monkeypatch.chdir(arrays)
    found, error = run(litert, "examples.npz", "queries.npy", *variant)
    with np.load("examples.npz") as file:
        classes = dict(file)
    labels = np.repeat(np.arange(3), [len(images) for images in classes.values()])
    rows = exported.load(litert, *variant).adapt_and_predict(
        np.concatenate(list(classes.values())), labels, np.load("queries.npy")
    )
    assert error is None
    assert found == said(range(len(rows)), rows, list(classes))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["one.npz", "queries.npy"], "one.npz: expected 2 classes, received 1."),
        (["colour.npz", "queries.npy"], "dog: expected uint8 [count, height, width, 1]."),
        (["none.npz", "queries.npy"], "numpy.savez and numpy.save wrote; [Errno 2] No such file"),
        (["queries.npy", "examples.npz"], "expected files that numpy.savez and numpy.save wrote;"),
        (["examples.npz", "examples.npz"], "examples.npz: expected uint8"),
        (["examples.npz", "empty.npy"], "numpy.save wrote; No data left in file"),
        (["examples.npz", "queries.npy", "half"], "half: expected one of float32, float16, int8."),
    ],
)
def test_what_is_wrong_with_arrays_is_said(run, litert, arrays, monkeypatch, arguments, message):
    monkeypatch.chdir(arrays)
    _, error = run(litert, *arguments)
    assert message in error and "\n" not in error
