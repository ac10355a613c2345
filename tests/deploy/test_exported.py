"""Loading an export: what is checked before the runtime sees it, whatever the format."""

import json
import subprocess
import sys

import numpy as np
import pytest

from anil_tf.deploy import exported

INFO = {
    "format": "made",
    "variants": {"float32": "model", "int8": "small"},
    "signatures": ["adapt", "predict", "adapt_and_predict", "embed"],
    "image_shape": [8, 8, 1],
    "ways": None,
    "takes_images": True,
    "classifies": True,
    "state": [
        {"name": "kernel", "shape": [4, None], "dtype": "float32"},
        {"name": "bias", "shape": [None], "dtype": "float32"},
    ],
}
STATE = {"kernel": np.zeros((4, 3)), "bias": np.zeros(3)}


class Runtime:
    """Says what it was given."""

    def __init__(self):
        self.seen = []

    def adapt(self, images, labels):
        self.seen.append((images.dtype, labels.dtype))
        return STATE

    def predict(self, images, state):
        self.seen.append((len(images), {array.dtype for array in state.values()}))
        return np.tile(np.mean(images, axis=(1, 2, 3))[:, None], (1, 3))

    def adapt_and_predict(self, images, labels, queries):
        self.seen.append(len(queries))
        return np.tile(np.mean(queries, axis=(1, 2, 3))[:, None], (1, 3))

    def embed(self, images):
        return np.zeros((len(images), 5), np.float32)


def model(**changes):
    return exported.Exported(Runtime(), INFO | changes, "float32")


def images(count=4, side=9, channels=1):
    return (
        np.arange(count * side * side * channels)
        .reshape(count, side, side, channels)
        .astype(np.uint8)
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (images()[0], r"support_images: expected uint8 \[count, height, width, 1\]"),
        (images(channels=3), r"width, 1\], none of them 0; received shape \[4, 9, 9, 3\]"),
        (images()[:0], r"received shape \[0, 9, 9, 1\]"),
        (images().astype(np.float32), "pixels 0..255; received float32"),
    ],
)
def test_images_that_are_none_are_refused(given, said):
    with pytest.raises(ValueError, match=said) as error:
        model().adapt(given, [0, 0, 1, 1])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("ways", "labels", "said"),
    [
        (None, [0, 1, 2], "one label for each of 4 images, received 3 labels"),
        (None, 1, "received a single value"),
        (None, [0, 1, 1, 3], "classes 0..ways-1, .*received labels without 2 and with 3"),
        (None, [1, 1, 2, 2], "without 0 and with 2"),
        (None, [-1, 0, 1, 1], "with -1"),
        (None, [0, 0, 0, 0], "without 1"),
        (None, [0.0, 1.0, 0.0, 1.0], "expected int"),
        (None, [[0], [1], [0], [1]], r"received int64 \[4, 1\]"),
        (3, [0, 1, 1, 0], "3 classes, 0..2, .*without 2"),
        (3, [0, 1, 2, 3], "with 3"),
    ],
)
def test_labels_that_are_none_are_refused(ways, labels, said):
    for call in (
        lambda: model(ways=ways).adapt(images(), labels),
        lambda: model(ways=ways).adapt_and_predict(images(), labels, images()),
    ):
        with pytest.raises(ValueError, match=said) as error:
            call()
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (
            {"kernel": STATE["kernel"]},
            "expected what adapt returned, bias, kernel; received .'kernel'.",
        ),
        ([1], "received list"),
        (STATE | {"kernel": np.zeros((5, 3))}, r"kernel of shape \[4, ways\], received \[5, 3\]"),
        (STATE | {"bias": np.zeros(2)}, r"one number of ways, received \[2, 3\]"),
    ],
)
def test_a_state_that_is_none_is_refused(state, said):
    with pytest.raises(ValueError, match=said) as error:
        model().predict(images(), state)
    assert "\n" not in str(error.value)


def test_the_runtime_gets_what_it_was_built_for():
    loaded = model()
    state = loaded.adapt(images(), np.array([0, 1, 1, 2], np.int64))
    many = np.repeat(images(1), 600, axis=0)
    many[:, 0, 0, 0] = np.arange(600) % 256
    answers = loaded.predict(many, state)
    expected = np.mean(many, axis=(1, 2, 3))
    np.testing.assert_allclose(answers, np.tile(expected[:, None], (1, 3)))
    seen = loaded._runtime.seen
    assert seen[0] == (np.uint8, np.int32)
    assert [count for count, _ in seen[1:]] == [256, 256, 88], "memory stays bounded"
    assert all(types == {np.dtype(np.float32)} for _, types in seen[1:])
    assert loaded.embed(many).shape == (600, 5)


@pytest.mark.parametrize(
    ("normalization", "passes"), [("support", [256, 256, 88]), ("episode", [600])]
)
def test_one_call_takes_queries_some_at_a_time_unless_answers_depend_on_each_other(
    normalization, passes
):
    loaded = model(normalization=normalization)
    many = np.repeat(images(1), 600, axis=0)
    many[:, 0, 0, 0] = np.arange(600) % 256
    answers = loaded.adapt_and_predict(images(), [0, 1, 1, 2], many)
    np.testing.assert_allclose(answers[:, 0], np.mean(many, axis=(1, 2, 3)))
    assert loaded._runtime.seen == passes


def test_numbers_to_predict_and_what_the_export_lacks():
    changes = {"takes_images": False, "classifies": False, "image_shape": [1], "outputs": 2}
    loaded = model(**changes, signatures=["adapt", "predict"])
    loaded.adapt(np.zeros((3, 1)), np.zeros((3, 2)))
    assert loaded._runtime.seen == [(np.float32, np.float32)]
    for inputs, targets in [((3, 2), (3, 2)), ((3, 1), (3, 1)), ((3, 1), (2, 2))]:
        with pytest.raises(ValueError, match="expected"):
            loaded.adapt(np.zeros(inputs), np.zeros(targets))
    with pytest.raises(ValueError, match="no embed; it has adapt, predict"):
        loaded.embed(np.zeros((3, 1)))


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (None, "that bin/export.py wrote, found no export.json"),
        ("{", "as JSON"),
        ("[]", "something else"),
        (json.dumps(INFO), "variant: expected one of float32, int8, received 'half'"),
        (json.dumps(INFO | {"format": "saved_model"}), "expected the files that bin/export.py"),
    ],
)
def test_a_directory_that_is_no_export_is_refused(tmp_path, facts, said):
    if facts is not None:
        (tmp_path / "export.json").write_text(facts)
    with pytest.raises(ValueError, match=said):
        exported.load(tmp_path, "half" if "half" in said else None)


@pytest.mark.parametrize(
    "name", ["format", "variants", "image_shape", "signatures", "ways", "state"]
)
def test_facts_that_are_missing_are_named(tmp_path, name):
    facts = {key: value for key, value in INFO.items() if key != name}
    (tmp_path / "export.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match=f"received none on {name};"):
        exported.load(tmp_path)


def test_without_tensorflow_it_loads_and_says_which_runtime_is_missing(repository, tmp_path):
    for runtime in ("litert", "saved_model"):
        (tmp_path / runtime).mkdir()
        facts = json.dumps(INFO | {"format": runtime})
        (tmp_path / runtime / "export.json").write_text(facts)
    program = f"""
import importlib.util, sys
hidden = ("tensorflow", "keras", "ai_edge_litert")
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name.partition(".")[0])
sys.meta_path.insert(0, Hide())
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name in hidden else real(name, package)
from anil_tf.deploy import exported
assert not set(hidden) & set(sys.modules)
for runtime in ("litert", "saved_model"):
    try:
        exported.load({str(tmp_path)!r} + "/" + runtime)
    except ValueError as error:
        print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=repository, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    for line, missing in zip(
        done.stdout.strip().splitlines(), ("ai_edge_litert", "tensorflow"), strict=True
    ):
        assert line.endswith(f"needs {missing}, which is not installed.")
