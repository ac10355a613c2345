"""The StableHLO format: the answers and the meta-steps of the learner, in JAX, where no TensorFlow is.

JAX is no dependency of the project: JAX_PYTHON names an interpreter that has it.
"""

import ast
import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from anil_tf.deploy import clients, formats, stablehlo
from tests.deploy import exports
from tests.deploy.learners import learner_of, pixels, regression_learner
from tests.learners import conv_learner

CLIENT = pathlib.Path(clients.__file__).with_name("stablehlo.py")
# Three ways, two shots and four queries per class, as `exports.export` says.
TASK = {"queries": 12}
TASKS = 8


@pytest.fixture(scope="module")
def jax_python():
    if "JAX_PYTHON" in os.environ:
        return os.environ["JAX_PYTHON"]
    if importlib.util.find_spec("jax") is None:
        pytest.skip("no jax here: set JAX_PYTHON to a Python that has it")
    return sys.executable


@pytest.fixture
def without_jax(monkeypatch):
    """Lets exports out uncompared: here JAX is in another environment, where the tests compare."""
    monkeypatch.setattr(stablehlo, "_check", lambda options: None)
    monkeypatch.setattr(stablehlo, "_difference", lambda *arguments: 0.0)


@pytest.fixture
def export(without_jax, tmp_path):
    def export(learner, **options):
        place = exports.export(learner, tmp_path / "out", format_name="stablehlo", **options)
        shutil.copy(CLIENT, place / "client.py")
        return place

    return export


def run(jax_python, program, repository, cwd):
    """Runs a program in JAX with TensorFlow out of its reach."""
    program = f"""
import sys; sys.modules.update(tensorflow=None, keras=None); sys.path.insert(0, {str(repository)!r})
import numpy as np
{program}
assert not any(name.startswith("tensorflow.") for name in sys.modules)
"""
    done = subprocess.run(
        [jax_python, "-c", program],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


ANSWER = """
from anil_tf.deploy import exported
task = np.load("task.npz")
model = exported.load("out")
np.save("found.npy", model.adapt_and_predict(task["support"], task["labels"], task["queries"]))
"""


@pytest.mark.parametrize("normalization", ["support", "running"])
@pytest.mark.parametrize("queries", [1, 12, 17])
def test_it_answers_any_number_of_queries_as_keras_does(
    export, jax_python, repository, tmp_path, normalization, queries
):
    learner = learner_of("prototype")
    export(learner, normalization=normalization)
    support, labels, images = pixels(queries=queries)
    np.savez(tmp_path / "task.npz", support=support, labels=labels, queries=images)
    run(jax_python, ANSWER, repository, tmp_path)
    expected = learner.adapt(support, labels, normalization=normalization).predict(images)
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), expected, atol=2e-5)


@pytest.mark.parametrize("kind", ["free", "ridge", "nil", "implicit", "two layers", "Meta-SGD"])
def test_every_head_answers_as_keras_does(kind, export, jax_python, repository, tmp_path):
    learner = learner_of(kind)
    export(learner)
    support, labels, images = pixels(**TASK)
    np.savez(tmp_path / "task.npz", support=support, labels=labels, queries=images)
    run(jax_python, ANSWER, repository, tmp_path)
    expected = learner.adapt(support, labels).predict(images)
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), expected, atol=1e-4)


def meta_batch():
    tasks = [pixels(seed=seed, queries=12) for seed in range(TASKS)]
    support, labels, queries = (np.stack(part) for part in zip(*tasks, strict=True))
    truth = np.tile(np.arange(12, dtype=np.int32) % 3, (TASKS, 1))
    return support, labels, queries, truth


def test_meta_steps_lose_and_learn_as_in_keras(export, jax_python, repository, tmp_path):
    learner = learner_of("prototype")
    place = export(learner)
    batch = meta_batch()
    np.savez(tmp_path / "batch.npz", *batch)
    support, labels, images = pixels(**TASK)
    np.savez(tmp_path / "task.npz", support=support, labels=labels, queries=images)
    program = """
from anil_tf.deploy.runtimes.stablehlo import Programs
model = Programs("out")
with np.load("batch.npz") as file:
    batch = [file[f"arr_{i}"] for i in range(4)]
losses = [model.meta_step(*batch) for _ in range(4)]
task = np.load("task.npz")
answers = model.adapt_and_predict(task["support"], task["labels"], task["queries"])
np.savez("found.npz", losses=losses, answers=answers)
"""
    run(jax_python, program, repository, tmp_path)
    found = np.load(tmp_path / "found.npz")
    facts = json.loads((place / "export.json").read_text())["facts"]["programs"]["meta_step"]
    assert facts["results"][0] == "loss" and set(facts["results"][1:]) < set(facts["variables"])

    ours = learner.replace(ways=3)
    ours.compile(
        optimizer=keras.optimizers.Adam(1e-3),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    names = ("support_images", "support_labels", "query_images")
    inputs = dict(zip(names, map(tf.constant, batch[:3]), strict=True))
    losses = []
    for _ in range(4):
        ours.reset_metrics()
        losses.append(float(ours.train_step((inputs, tf.constant(batch[3])))["loss"]))
    np.testing.assert_allclose(found["losses"], losses, atol=2e-3)
    np.testing.assert_allclose(found["losses"][0], losses[0], atol=2e-5)
    assert losses[-1] < losses[0]
    # The answers are those of the weights that were learned, not of those exported.
    expected = ours.adapt(support, labels).predict(images)
    np.testing.assert_allclose(found["answers"], expected, atol=2e-2)


def test_exporting_leaves_the_learner_as_it_is(export):
    learner = learner_of("prototype")
    before = [np.array(variable) for variable in learner.variables]
    export(learner)
    for old, variable in zip(before, learner.variables, strict=True):
        np.testing.assert_array_equal(old, variable)


def test_other_sizes_are_refused_in_one_line(export, jax_python, repository, tmp_path):
    export(learner_of("prototype"))
    support, labels, images = pixels(shots=3)
    np.savez(tmp_path / "task.npz", support=support, labels=labels, queries=images)
    program = (
        ANSWER.replace("np.save(", "try: np.save(") + "except ValueError as error: print(error)"
    )
    said = run(jax_python, program, repository, tmp_path)
    assert said.strip() == (
        "support_images: this program takes [6, 16, 16, 1] and nothing else; received [9, 16, 16, 1]."
    )


def test_the_client_prints_what_the_export_says(export, jax_python, tmp_path):
    learner = learner_of("prototype")
    export(learner)
    support, labels, images = pixels(queries=14)
    classes = {name: support[labels == i] for i, name in enumerate(("cat", "dog", "hen"))}
    np.savez(tmp_path / "examples.npz", **classes)
    np.save(tmp_path / "queries.npy", images)
    command = [jax_python, "out/client.py", "examples.npz", "queries.npy"]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    options = {"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 300}
    done = subprocess.run(command, env=environment, check=False, **options)
    assert done.returncode == 0, done.stderr
    rows = learner.adapt(support, labels).predict(images)
    for number, (line, row) in enumerate(zip(done.stdout.splitlines(), rows, strict=True)):
        best = np.argmax(row)
        assert line.startswith(f"{number}: {list(classes)[best]} {row[best]:.0%}"[:-3])
    np.save(tmp_path / "queries.npy", images[:, :8])
    done = subprocess.run(command, env=environment, check=False, **options)
    assert done.returncode == 1
    assert done.stderr.strip() == "expected 3 classes, 6 examples in all, sizes [16, 16, 1]."


def test_the_client_is_short_and_needs_little():
    text = CLIENT.read_text()
    assert len(text.splitlines()) < 40
    nodes = list(ast.walk(ast.parse(text)))
    imported = {
        a.name.partition(".")[0] for n in nodes if isinstance(n, ast.Import) for a in n.names
    }
    imported |= {n.module.partition(".")[0] for n in nodes if isinstance(n, ast.ImportFrom)}
    assert imported <= {*sys.stdlib_module_names, "numpy", "jax", "jaxlib"}


# ---- What is written, and what is refused ----------------------------------------------------------------------------


def test_the_facts_say_what_goes_in_and_comes_out(export):
    info = json.loads((export(learner_of("zero")) / "export.json").read_text())
    assert info["signatures"] == ["adapt_and_predict"] and info["ways"] == 3 and info["state"] == []
    facts = info["facts"]["programs"]["adapt_and_predict"]
    shapes = {argument["name"]: argument["shape"] for argument in facts["arguments"]}
    images = [16, 16, 1]
    assert shapes == {
        "support_images": [6, *images],
        "support_labels": [6],
        "query_images": [12, *images],
    }
    assert facts["results"] == ["probabilities"]
    step = info["facts"]["programs"]["meta_step"]["arguments"]
    assert step[-1] == {"name": "query_labels", "shape": [8, 12], "dtype": "int32"}


def test_no_meta_step_is_written_that_xla_would_get_wrong(export):
    place = export(learner_of("MAML"))  # second derivatives of max pooling
    assert not (place / "meta_step.mlir").exists()
    info = json.loads((place / "export.json").read_text())
    assert any("no `meta_step.mlir`" in limit for limit in info["limits"])
    average = conv_learner("all", differentiation="first_order")
    assert (export(average) / "meta_step.mlir").exists()


def test_a_regression_is_exported(export, jax_python, repository, tmp_path):
    learner = regression_learner()
    place = export(learner)
    facts = json.loads((place / "export.json").read_text())["facts"]["programs"]
    assert facts["meta_step"]["arguments"][-1]["shape"] == [8, 4, 1]
    rng = np.random.default_rng(0)
    inputs, targets, queries = (rng.normal(size=(n, 1)).astype("f4") for n in (2, 2, 4))
    np.savez(tmp_path / "task.npz", support=inputs, labels=targets, queries=queries)
    run(jax_python, ANSWER, repository, tmp_path)
    expected = learner.adapt(inputs, targets).predict(queries)
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), expected, atol=1e-5)


def test_episode_is_refused(tmp_path):
    options = formats.Options("episode", 1.0, ways=3, shots=2, queries=4)
    with pytest.raises(ValueError, match="normalization=support or running.*saved_model"):
        stablehlo.export(learner_of("zero"), tmp_path, options)


def test_a_free_head_is_refused_for_another_number_of_ways(without_jax, tmp_path):
    options = formats.Options("support", 1.0, ways=4, shots=2, queries=4)
    with pytest.raises(ValueError, match="one learned row for each of 3 classes. Received: ways=4"):
        stablehlo.export(learner_of("free"), tmp_path, options)


def test_without_jax_nothing_is_exported(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    options = formats.Options("support", 1.0, ways=3, shots=2, queries=4)
    with pytest.raises(ValueError, match="needs JAX. It is not installed"):
        stablehlo.export(learner_of("zero"), tmp_path, options)
