"""A SavedModel answers as the learner does: here, in a server, and where there is TensorFlow alone."""

import io
import json
import re
import subprocess
import sysconfig
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from anil_tf.deploy import exported
from anil_tf.deploy import saved_model as saved_model_format
from anil_tf.deploy.runtimes.saved_model import SavedModelRuntime
from tests.deploy.exports import TEMPERATURE, export
from tests.deploy.learners import (
    SETTINGS,
    WAYS,
    answers_of,
    learner_of,
    mixed_precision_learner,
    numbers,
    pixels,
    regression_learner,
)

TASK = pixels()
NAMED = dict(zip(("support_images", "support_labels", "query_images"), TASK, strict=True))


@pytest.fixture(scope="module")
def expected():
    return answers_of(learner_of("prototype"), *TASK, temperature=TEMPERATURE)


def assert_answers(model, task, expected, atol=1e-6):
    state = model.adapt(*task[:2])
    np.testing.assert_allclose(model.predict(task[2], state), expected, atol=atol)
    np.testing.assert_allclose(model.adapt_and_predict(*task), expected, atol=atol)


# What the graphs hold is tested in test_signatures.py; these are the ones that a file may lose.
@pytest.mark.parametrize(
    "kind",
    [
        "free",
        "MAML",
        *(pytest.param(k, marks=pytest.mark.slow) for k in SETTINGS if k not in ("free", "MAML")),
    ],
)
def test_the_file_equals_the_learner(kind, tmp_path):
    learner = learner_of(kind)
    model = exported.load(export(learner, tmp_path))
    assert_answers(model, TASK, answers_of(learner, *TASK))
    takes_any = "head_initialization" in SETTINGS[kind]
    assert model.ways == (None if takes_any else WAYS)


def test_under_episode_there_is_no_adapt(tmp_path):
    learner = learner_of("prototype")
    model = exported.load(export(learner, tmp_path, normalization="episode"))
    logits = learner.replace(normalization="episode")({n: p[None] for n, p in NAMED.items()})[0]
    np.testing.assert_allclose(model.adapt_and_predict(*TASK), tf.nn.softmax(logits), atol=1e-6)
    with pytest.raises(ValueError, match="no adapt; it has adapt_and_predict"):
        model.adapt(*TASK[:2])


@pytest.mark.parametrize(
    ("make", "task"), [(mixed_precision_learner, TASK), (regression_learner, numbers())]
)
def test_a_body_in_bfloat16_and_numbers_to_predict(make, task, tmp_path):
    learner = make()
    assert_answers(exported.load(export(learner, tmp_path)), task, answers_of(learner, *task))


def test_any_number_of_classes_examples_and_pixels(saved_model):
    learner, model = learner_of("prototype"), exported.load(saved_model)
    support, labels, queries = pixels(side=50, ways=11, shots=3, queries=300)
    small = [tf.image.resize(images, (16, 16), antialias=True) for images in (support, queries)]
    expected = answers_of(learner, small[0], labels, small[1], temperature=TEMPERATURE)
    assert expected.shape == (300, 11)
    assert_answers(model, (support, labels, queries), expected, atol=1e-4)


def test_functions_and_signatures_of_the_file_give_the_same_answers(saved_model, expected):
    model = tf.saved_model.load(str(saved_model / "saved_model"))
    support, labels, queries = map(tf.constant, TASK)
    signatures = model.signatures
    state = signatures["adapt"](support_images=support, support_labels=labels)
    moments = {f"body_{moment}_{i}" for i in range(2) for moment in ("mean", "variance")}
    assert set(state) == {"kernel", "bias"} | moments
    for answers in (
        model.predict(queries, model.adapt(support, labels)),
        model.adapt_and_predict(support, labels, queries),
        signatures["predict"](query_images=queries, **state),
        signatures["serving_default"](**dict(zip(NAMED, (support, labels, queries), strict=True))),
    ):
        np.testing.assert_allclose(answers["probabilities"], expected, atol=1e-6)
    assert model.embed(queries)["features"].shape[0] == len(queries)
    bad = tf.constant([0, 0, 1, 1, 3, 3])
    for adapt in (model.adapt, signatures["adapt"]):
        with pytest.raises(
            tf.errors.InvalidArgumentError, match="Expected support labels 0..ways-1"
        ):
            adapt(support_images=support, support_labels=bad)


@pytest.mark.slow
def test_saved_model_cli_runs_it(saved_model, expected, tmp_path):
    client = Path(sysconfig.get_path("scripts")) / "saved_model_cli"
    if not client.exists():
        pytest.skip(f"no {client}, which comes with TensorFlow's wheel")
    for name, array in NAMED.items():
        np.save(tmp_path / f"{name}.npy", array)
    command = [
        client,
        "run",
        f"--dir={saved_model / 'saved_model'}",
        "--tag_set=serve",
        "--signature_def=serving_default",
        f"--inputs={';'.join(f'{name}={tmp_path}/{name}.npy' for name in NAMED)}",
        f"--outdir={tmp_path}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "probabilities.npy"), expected, atol=1e-6)


def test_a_file_whose_state_gives_other_answers_is_not_let_out(tmp_path, monkeypatch):
    right = SavedModelRuntime.predict
    monkeypatch.setattr(
        SavedModelRuntime, "predict", lambda self, *inputs: right(self, *inputs) + 0.01
    )
    with pytest.raises(RuntimeError, match="The SavedModel answers other than the learner"):
        export(learner_of("free"), tmp_path)


def test_the_request_for_a_server_is_python_and_holds_the_signatures_inputs(
    repository, saved_model, expected, monkeypatch
):
    """The block in the card and that on the page, run as they stand; the server is the signature itself."""
    serving = tf.saved_model.load(str(saved_model / "saved_model")).signatures["serving_default"]
    specs = {spec.name: spec for spec in serving.structured_input_signature[1].values()}

    def server(url, body):
        assert url.endswith(":predict")
        inputs = json.loads(body)["inputs"]
        tensors = {name: tf.constant(value, specs[name].dtype) for name, value in inputs.items()}
        (outputs,) = serving(**tensors).values()
        return io.StringIO(json.dumps({"outputs": outputs.numpy().tolist()}))

    monkeypatch.setattr(urllib.request, "urlopen", server)
    page = (repository / "docs" / "export.md").read_text()
    for text in (saved_model_format.USAGE, page):
        (block,) = (b for b in re.findall(r"```python\n(.*?)```", text, re.S) if "json.dumps" in b)
        scope = dict(NAMED)
        exec(block, {"json": json, "urllib": urllib, "np": np} | scope, scope)
        np.testing.assert_allclose(scope["probabilities"], expected, atol=1e-6)
