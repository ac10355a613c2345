"""The StableHLO format: the answers and the meta-steps of the learner, in JAX, where no TensorFlow is.

JAX is no dependency of the project: JAX_PYTHON names an interpreter that has it.
"""

import ast
import contextlib
import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from anil_tf.deploy import clients, formats, stablehlo
from anil_tf.training import optimizers
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


def pretend_jax(monkeypatch):
    """Makes the format find JAX where it is not."""
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: name == "jax" or real(name) is not None or None
    )


@pytest.fixture
def jax_is_elsewhere(monkeypatch):
    """Lets exports out uncompared where JAX is in another environment: there the tests compare."""
    if importlib.util.find_spec("jax") is None:
        pretend_jax(monkeypatch)
        monkeypatch.setattr(stablehlo, "_differences", lambda *arguments: {"float32": 0.0})


def adam(learner):
    return keras.optimizers.Adam(1e-3)


@pytest.fixture
def export(jax_is_elsewhere, tmp_path):
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
    place = export(learner, optimizer=adam)
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


def test_the_meta_step_is_that_of_the_optimizer_and_normalization_given(
    export, jax_python, repository, tmp_path
):
    """Two step sizes, one joint clipping, and the learner's own normalisation, not that of the export."""

    def outer(learner):
        return optimizers.build(
            learner,
            optimizer="sgd",
            step_size_body=0.1,
            step_size_head=0.01,
            schedule="cosine",
            total_steps=4,
            clip_norm=0.5,
        )

    learner = learner_of("free")
    learner = learner.replace(normalization="episode")
    place = export(learner, optimizer=outer, normalization="running")
    training = json.loads((place / "export.json").read_text())["facts"]["training"]
    assert (training["normalization"], training["meta_batch_size"]) == ("episode", 8)
    assert training["optimizer"]["config"]["clip_norm"] == 0.5
    np.savez(tmp_path / "batch.npz", *meta_batch())
    program = """
from anil_tf.deploy.runtimes.stablehlo import Programs
model = Programs("out")
with np.load("batch.npz") as file:
    batch = [file[f"arr_{i}"] for i in range(4)]
np.save("losses.npy", [model.meta_step(*batch) for _ in range(4)])
"""
    run(jax_python, program, repository, tmp_path)
    losses = {}
    for normalization in ("episode", "support"):
        ours = learner_of("free").replace(ways=3, normalization=normalization)
        ours.compile(
            optimizer=outer(ours),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        batch = [tf.constant(part) for part in meta_batch()]
        losses[normalization] = [float(stablehlo._train_step(ours, *batch)) for _ in range(4)]
    np.testing.assert_allclose(np.load(tmp_path / "losses.npy"), losses["episode"], atol=1e-4)
    assert np.abs(np.subtract(*losses.values())).max() > 1e-3


def test_the_meta_step_is_described(export):
    place = export(learner_of("prototype"), optimizer=adam)
    info = json.loads((place / "export.json").read_text())
    (said,) = (limit for limit in info["limits"] if "meta_step.mlir" in limit)
    assert "on 8 tasks: normalization `episode`, Adam of step size 0.001;" in said
    assert info["files"]["meta_step"] == "meta_step.mlir"


def test_without_an_optimizer_there_is_no_meta_step(export):
    place = export(learner_of("prototype"))
    assert not (place / "meta_step.mlir").exists()
    info = json.loads((place / "export.json").read_text())
    assert any("no outer optimizer was given" in limit for limit in info["limits"])
    assert (
        set(info["facts"]["programs"]) == {"adapt_and_predict"} and "training" not in info["facts"]
    )


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
    wanted = "expected 3 classes, 6 examples in all, uint8 [16, 16, 1]."
    written = "expected files that numpy.savez and numpy.save wrote; "
    for queries, said in [
        (images[:, :8], wanted),
        (images / 255, wanted),
        (None, written + "[Errno 2] No such file or directory: 'queries.npy'"),
    ]:
        pathlib.Path(tmp_path / "queries.npy").unlink()
        if queries is not None:
            np.save(tmp_path / "queries.npy", queries)
        done = subprocess.run(command, env=environment, check=False, **options)
        assert (done.returncode, done.stderr.strip()) == (1, said)


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
    place = export(learner_of("zero"), optimizer=adam)
    info = json.loads((place / "export.json").read_text())
    assert info["signatures"] == ["adapt_and_predict"] and info["ways"] == 3 and info["state"] == []
    assert info["examples"] == 6
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
    place = export(learner_of("MAML"), optimizer=adam)  # second derivatives of max pooling
    assert not (place / "meta_step.mlir").exists()
    info = json.loads((place / "export.json").read_text())
    assert any("no `meta_step.mlir`" in limit for limit in info["limits"])
    average = conv_learner("all", differentiation="first_order")
    assert (export(average, optimizer=adam) / "meta_step.mlir").exists()


def test_a_regression_is_exported(export, jax_python, repository, tmp_path):
    learner = regression_learner()
    place = export(learner, optimizer=adam)
    facts = json.loads((place / "export.json").read_text())["facts"]["programs"]
    assert facts["meta_step"]["arguments"][-1]["shape"] == [8, 4, 1]
    assert facts["adapt_and_predict"]["results"] == ["outputs"]
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


def test_a_free_head_is_refused_for_another_number_of_ways():
    options = formats.Options("support", 1.0, ways=4, shots=2, queries=4)
    with pytest.raises(ValueError, match="one learned row for each of 3 classes. Received: ways=4"):
        stablehlo.check(learner_of("free"), options)


class OfKeras:
    """In place of JAX: the learner's own answers and losses, both with an error."""

    def __init__(self, learner, answers_off=0.0, losses_off=(0.0, 0.0)):
        self._learner, self._answers_off = learner, answers_off
        self._losses, self._losses_off = [], list(losses_off)

    def __call__(self, directory, facts):
        return self

    def adapt_and_predict(self, images, labels, queries):
        return self._learner.adapt(images, labels).predict(queries) + self._answers_off

    def meta_step(self, *batch):
        if not self._losses:
            ours = self._learner.replace(ways=3)
            ours.compile(
                optimizer=adam(ours),
                loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            )
            self._losses = list(stablehlo._losses(ours, list(batch)))
        return self._losses.pop(0) + self._losses_off.pop(0)


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        ({}, None),
        ({"answers_off": 2e-3}, "adapt_and_predict.mlir answers other than the learner"),
        ({"losses_off": (2e-3, 0.0)}, "meta_step.mlir answers other than the learner"),
        ({"losses_off": (0.0, 0.1)}, "meta_step.mlir answers other than the learner"),
        ({"losses_off": (0.0, np.nan)}, "meta_step.mlir answers other than the learner"),
    ],
)
def test_a_program_that_answers_otherwise_is_not_let_out(errors, said, tmp_path, monkeypatch):
    learner = learner_of("prototype")
    before = [np.array(variable) for variable in learner.variables]
    module = types.ModuleType("anil_tf.deploy.runtimes.stablehlo")
    module.Programs = OfKeras(learner, **errors)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    pretend_jax(monkeypatch)
    expects = pytest.raises(RuntimeError, match=said) if said else contextlib.nullcontext()
    with expects:
        exports.export(learner, tmp_path, format_name="stablehlo", optimizer=adam)
    for old, variable in zip(before, learner.variables, strict=True):
        np.testing.assert_array_equal(old, variable)


def test_without_jax_nothing_is_exported(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    options = formats.Options("support", 1.0, ways=3, shots=2, queries=4)
    with pytest.raises(ValueError, match="needs JAX. It is not installed"):
        stablehlo.export(learner_of("zero"), tmp_path, options)
