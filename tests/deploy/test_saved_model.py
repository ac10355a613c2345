"""A SavedModel answers as the learner does: here, in a process with TensorFlow alone, for TensorFlow's own client."""

import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from anil_tf.deploy import exported
from tests.deploy.exports import export
from tests.deploy.learners import (
    SETTINGS,
    learner_of,
    mixed_precision_learner,
    numbers,
    pixels,
    regression_learner,
)
from tests.learners import WAYS


def both_ways(model, support, labels, queries):
    return (
        model.predict(queries, model.adapt(support, labels)),
        model.adapt_and_predict(support, labels, queries),
    )


@pytest.mark.parametrize("kind", SETTINGS)
def test_the_file_equals_the_learner(kind, tmp_path):
    learner, (support, labels, queries) = learner_of(kind), pixels()
    model = exported.load(export(learner, tmp_path))
    expected = learner.adapt(support, labels).predict(queries)
    for found in both_ways(model, support, labels, queries):
        np.testing.assert_allclose(found, expected, atol=1e-6)
    takes_any = "head_initialization" in SETTINGS[kind]
    assert model.ways == (None if takes_any else WAYS)


@pytest.mark.parametrize("normalization", ["running", "episode"])
def test_other_normalizations(normalization, tmp_path):
    learner, (support, labels, queries) = learner_of("prototype"), pixels()
    model = exported.load(export(learner, tmp_path, normalization=normalization))
    if normalization == "running":
        expected = learner.adapt(support, labels, normalization="running").predict(queries)
        for found in both_ways(model, support, labels, queries):
            np.testing.assert_allclose(found, expected, atol=1e-6)
        assert set(model.adapt(support, labels)) == {"kernel", "bias"}
    else:
        assert model.adapt_and_predict(support, labels, queries).shape == (4, 3)
        with pytest.raises(ValueError, match="no adapt; it has adapt_and_predict"):
            model.adapt(support, labels)


def test_a_body_in_bfloat16_and_numbers_to_predict(tmp_path):
    cases = {
        "mixed": (mixed_precision_learner(), pixels()),
        "numbers": (regression_learner(), numbers()),
    }
    for name, (learner, task) in cases.items():
        model = exported.load(export(learner, tmp_path / name))
        expected = learner.adapt(*task[:2]).predict(task[2])
        for found in both_ways(model, *task):
            np.testing.assert_allclose(found, expected, atol=1e-6)


def test_any_number_of_classes_examples_and_pixels(tmp_path):
    learner = learner_of("zero")
    model = exported.load(export(learner, tmp_path))
    for ways, shots, side in [(2, 1, 16), (11, 3, 50)]:
        support, labels, queries = pixels(side, ways, shots, queries=300)
        found = model.predict(queries, model.adapt(support, labels))
        resized = [
            tf.image.resize(images, (16, 16), antialias=True) for images in (support, queries)
        ]
        expected = learner.adapt(resized[0], labels).predict(resized[1])
        assert found.shape == (300, ways)
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """An export of a prototype head at temperature 2, and what it is to answer."""
    learner, (support, labels, queries) = learner_of("prototype"), pixels()
    directory = export(learner, tmp_path_factory.mktemp("export"), value=2.0)
    logits = learner.adapt(support, labels).predict_logits(queries)
    arrays = {"support_images": support, "support_labels": labels, "query_images": queries}
    for name, array in arrays.items():
        np.save(directory / f"{name}.npy", array)
    np.save(directory / "expected.npy", tf.nn.softmax(logits / 2.0))
    return directory


PROGRAM = """
import sys
import numpy as np
import tensorflow as tf
directory = sys.argv[1]
support, labels, queries, expected = (
    np.load(f"{directory}/{name}.npy")
    for name in ("support_images", "support_labels", "query_images", "expected")
)
model = tf.saved_model.load(f"{directory}/saved_model")
state = model.adapt(support, labels)
found = [
    model.predict(queries, state)["probabilities"],
    model.adapt_and_predict(support, labels, queries)["probabilities"],
    model.signatures["predict"](
        query_images=tf.constant(queries), **model.signatures["adapt"](
            support_images=tf.constant(support), support_labels=tf.constant(labels)
        )
    )["probabilities"],
    model.signatures["serving_default"](
        support_images=tf.constant(support),
        support_labels=tf.constant(labels),
        query_images=tf.constant(queries),
    )["probabilities"],
]
print(max(float(np.abs(one - expected).max()) for one in found))
print(model.embed(queries)["features"].shape[0])
print("anil_tf" in sys.modules)
"""


def test_a_process_with_tensorflow_alone_gets_the_same_answers(directory):
    command = [sys.executable, "-c", PROGRAM, str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=directory, timeout=300)
    assert done.returncode == 0, done.stderr
    difference, count, imported = done.stdout.splitlines()[-3:]
    assert float(difference) < 1e-6
    assert (count, imported) == ("4", "False")


def saved_model_cli(*arguments):
    client = Path(sysconfig.get_path("scripts")) / "saved_model_cli"
    if not client.exists():
        pytest.skip(f"no {client}, which comes with TensorFlow's wheel")
    done = subprocess.run(
        [client, *map(str, arguments)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_saved_model_cli_runs_it(directory, tmp_path):
    names = ("support_images", "support_labels", "query_images")
    saved_model_cli(
        "run",
        f"--dir={directory / 'saved_model'}",
        "--tag_set=serve",
        "--signature_def=serving_default",
        f"--inputs={';'.join(f'{name}={directory}/{name}.npy' for name in names)}",
        f"--outdir={tmp_path}",
    )
    found = np.load(tmp_path / "probabilities.npy")
    np.testing.assert_allclose(found, np.load(directory / "expected.npy"), atol=1e-6)


def test_saved_model_cli_shows_the_signatures_by_name(directory):
    shown = saved_model_cli("show", f"--dir={directory / 'saved_model'}", "--all")
    for signature in ("adapt", "predict", "adapt_and_predict", "embed", "serving_default"):
        assert f"signature_def['{signature}']" in shown
    of_predict = shown.split("signature_def['predict']")[1].split("Method name")[0]
    inputs = set(re.findall(r"inputs\['(\w+)'\]", of_predict))
    moments = {f"body_{moment}_{i}" for i in range(4) for moment in ("mean", "variance")}
    assert inputs == {"query_images", "kernel", "bias"} | moments
    assert re.findall(r"outputs\['(\w+)'\]", of_predict) == ["probabilities"]


def test_the_graph_itself_refuses_bad_labels(directory):
    model = tf.saved_model.load(str(directory / "saved_model"))
    support, _, _ = pixels()
    for signature in (model.adapt, model.signatures["adapt"]):
        bad = tf.constant([0, 0, 1, 1, 3, 3])
        with pytest.raises(
            tf.errors.InvalidArgumentError, match="Expected support labels 0..ways-1"
        ):
            signature(support_images=tf.constant(support), support_labels=bad)


def test_a_file_whose_state_gives_other_answers_is_not_let_out(tmp_path, monkeypatch):
    from anil_tf.deploy.runtimes.saved_model import SavedModelRuntime

    right = SavedModelRuntime.predict
    monkeypatch.setattr(
        SavedModelRuntime, "predict", lambda self, *inputs: right(self, *inputs) + 0.01
    )
    with pytest.raises(RuntimeError, match="The SavedModel answers other than the learner"):
        export(learner_of("free"), tmp_path)


def test_the_request_for_a_server_is_python_and_holds_the_signatures_inputs(
    repository, directory, monkeypatch
):
    """The block in the card and that on the page, run as they stand; the server is the signature itself."""
    import io
    import json
    import urllib.request

    from anil_tf.deploy import saved_model

    serving = tf.saved_model.load(str(directory / "saved_model")).signatures["serving_default"]
    specs = {spec.name: spec for spec in serving.structured_input_signature[1].values()}

    def server(url, body):
        assert url.endswith(":predict")
        inputs = json.loads(body)["inputs"]
        tensors = {name: tf.constant(value, specs[name].dtype) for name, value in inputs.items()}
        (outputs,) = serving(**tensors).values()
        return io.StringIO(json.dumps({"outputs": outputs.numpy().tolist()}))

    monkeypatch.setattr(urllib.request, "urlopen", server)
    names = ("support_images", "support_labels", "query_images")
    for text in (saved_model.USAGE, (repository / "docs" / "export.md").read_text()):
        (block,) = (b for b in re.findall(r"```python\n(.*?)```", text, re.S) if "json.dumps" in b)
        scope = {name: np.load(directory / f"{name}.npy") for name in names}
        exec(block, {"json": json, "urllib": urllib, "np": np} | scope, scope)
        expected = np.load(directory / "expected.npy")
        np.testing.assert_allclose(scope["probabilities"], expected, atol=1e-6)
