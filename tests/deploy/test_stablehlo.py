"""The StableHLO format: the answers and the meta-steps of the learner, in JAX, where no TensorFlow is.

JAX is no dependency of the project: JAX_PYTHON names an interpreter that has it.
"""

import contextlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from anil_tf.config.outer_loop import OuterLoop
from anil_tf.deploy import formats, stablehlo
from anil_tf.training import optimizers
from tests.deploy import exports
from tests.deploy.learners import (
    answers_of,
    learner_of,
    make_learner,
    numbers,
    pixels,
    regression_learner,
)

# Three ways, two shots and four queries per class, as `exports.export` says.
OPTIONS = formats.Options("support", 1.0, ways=3, shots=2, queries=4)
TASKS = 8
HAS_JAX = importlib.util.find_spec("jax") is not None
DIFFERENCES = stablehlo._differences  # before `jax_is_found` puts something in its place


@pytest.fixture(scope="module")
def jax_python():
    if "JAX_PYTHON" in os.environ:
        return os.environ["JAX_PYTHON"]
    if not HAS_JAX:
        pytest.skip("no jax here: set JAX_PYTHON to a Python that has it")
    return sys.executable


@pytest.fixture(scope="module", autouse=True)
def jax_is_found():
    """Lets exports out uncompared where JAX is in another environment: there the tests compare."""
    if HAS_JAX:
        yield
        return
    real = importlib.util.find_spec
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            importlib.util,
            "find_spec",
            lambda name: name == "jax" or real(name) is not None or None,
        )
        patch.setattr(stablehlo, "_differences", lambda *arguments: {"float32": 0.0})
        yield


def adam(learner):
    return keras.optimizers.Adam(1e-3)


def two_step_sizes(learner):
    outer_loop = OuterLoop(
        optimizer="sgd",
        outer_step_size_body=0.1,
        outer_step_size_head=0.01,
        schedule="cosine",
        epochs=1,
        steps_per_epoch=4,
        clip_norm=0.5,
    )
    return optimizers.build(learner, outer_loop)


def export(learner, place, **options):
    exports.export(learner, place, format_name="stablehlo", **options)
    shutil.copy(exports.CLIENTS / "stablehlo.py", place / "client.py")
    return place


def info_of(place):
    return json.loads((place / "export.json").read_text())


def run_in_jax(jax_python, repository, cwd, program):
    """Runs a program in JAX with TensorFlow out of its reach; returns what it prints."""
    program = f"""
import sys; sys.modules.update(tensorflow=None, keras=None); sys.path.insert(0, {str(repository)!r})
import numpy as np, json, runpy
from anil_tf.deploy import exported
from anil_tf.deploy.runtimes.stablehlo import Programs
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


# ---- In JAX ----------------------------------------------------------------------------------------------------------


def test_it_answers_as_keras_does(jax_python, repository, tmp_path):
    """Whatever the head, for any number of queries; other sizes of support are refused in one line."""
    kinds = ["free", "ridge", "nil", "implicit", "two layers", "Meta-SGD"]
    cases = [(learner_of(kind), "support", pixels(queries=12)) for kind in kinds]
    cases += [(learner_of("prototype"), "support", pixels(queries=n)) for n in (1, 17)]
    cases += [(learner_of("prototype"), "running", pixels(queries=12))]
    inputs, targets, queries = numbers()
    cases += [(regression_learner(), "support", (inputs[:2], targets[:2], queries[:4]))]
    for number, (learner, normalization, (support, labels, queries)) in enumerate(cases):
        export(learner, tmp_path / f"out{number}", normalization=normalization)
        np.savez(tmp_path / f"task{number}.npz", support=support, labels=labels, queries=queries)
    program = f"""
for number in range({len(cases)}):
    task, model = np.load(f"task{{number}}.npz"), exported.load(f"out{{number}}")
    answers = model.adapt_and_predict(task["support"], task["labels"], task["queries"])
    np.save(f"found{{number}}.npy", answers)
images = np.zeros([9, 16, 16, 1], "uint8")
try:
    exported.load("out0").adapt_and_predict(images, np.arange(9) % 3, images)
except ValueError as error:
    print(error)
"""
    said = run_in_jax(jax_python, repository, tmp_path, program)
    assert "this program takes [6, 16, 16, 1] and nothing else; received [9, 16, 16, 1]." in said
    for number, (learner, normalization, task) in enumerate(cases):
        expected = answers_of(learner, *task, normalization=normalization)
        found = np.load(tmp_path / f"found{number}.npy")
        np.testing.assert_allclose(found, expected, atol=1e-4)


def meta_batch():
    tasks = [pixels(seed=seed, queries=12) for seed in range(TASKS)]
    support, labels, queries = (np.stack(part) for part in zip(*tasks, strict=True))
    truth = np.tile(np.arange(12, dtype=np.int32) % 3, (TASKS, 1))
    return support, labels, queries, truth


def compiled(learner, optimizer, **changes):
    learner = learner.replace(ways=3, **changes)
    learner.compile(
        optimizer=optimizer(learner),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return learner


@pytest.mark.parametrize(
    ("kind", "optimizer", "normalizations"),
    [
        ("prototype", adam, ("support", "support")),
        # Two step sizes, one joint clipping, and the learner's own normalisation, not that of the export.
        ("free", two_step_sizes, ("episode", "running")),
    ],
)
def test_meta_steps_lose_and_learn_as_in_keras(
    kind, optimizer, normalizations, jax_python, repository, tmp_path
):
    own, of_export = normalizations
    learner = learner_of(kind).replace(normalization=own)
    export(learner, tmp_path / "out", optimizer=optimizer, normalization=of_export)
    batch, task = meta_batch(), pixels(queries=12)
    np.savez(tmp_path / "batch.npz", *batch)
    np.savez(tmp_path / "task.npz", *task)
    program = """
model = Programs("out")
batch, task = (list(np.load(f"{name}.npz").values()) for name in ("batch", "task"))
losses = [model.meta_step(*batch) for _ in range(4)]
np.savez("found.npz", losses=losses, answers=model.adapt_and_predict(*task))
"""
    run_in_jax(jax_python, repository, tmp_path, program)
    found = np.load(tmp_path / "found.npz")
    ours = compiled(learner, optimizer)
    tensors = [tf.constant(part) for part in batch]
    losses = [float(stablehlo._train_step(ours, *tensors)) for _ in range(4)]
    np.testing.assert_allclose(found["losses"], losses, atol=2e-3)
    np.testing.assert_allclose(found["losses"][0], losses[0], atol=2e-5)
    assert losses[-1] < losses[0]
    # The answers are those of the weights that were learned, not of those exported.
    expected = answers_of(ours, *task, normalization=of_export)
    np.testing.assert_allclose(found["answers"], expected, atol=2e-2)


def test_the_client_prints_what_the_export_says(jax_python, tmp_path):
    learner, (support, labels, images) = learner_of("prototype"), pixels(queries=14)
    export(learner, tmp_path / "out")
    classes = {name: support[labels == i] for i, name in enumerate(("cat", "dog", "hen"))}
    np.savez(tmp_path / "examples.npz", **classes)
    for name, queries in {"queries": images, "small": images[:, :8], "real": images / 255}.items():
        np.save(tmp_path / f"{name}.npy", queries)

    def client(queries):
        command = [jax_python, "out/client.py", "examples.npz", queries]
        options = {"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 300}
        environment = os.environ | {"JAX_PLATFORMS": "cpu"}
        done = subprocess.run(command, env=environment, check=False, **options)
        return done.returncode, done.stdout.splitlines(), done.stderr.strip()

    code, lines, error = client("queries.npy")
    assert code == 0, error
    rows = answers_of(learner, support, labels, images)
    for number, (line, row) in enumerate(zip(lines, rows, strict=True)):
        best = np.argmax(row)
        assert line.startswith(f"{number}: {list(classes)[best]} {row[best]:.0%}"[:-3])
    wanted = "expected 3 classes, 6 examples in all, uint8 [16, 16, 1]."
    assert client("small.npy") == client("real.npy") == (1, [], wanted)
    code, _, error = client("none.npy")
    assert code == 1
    assert error.startswith("expected files that numpy.savez and numpy.save wrote; [Errno 2]")


# ---- What is written, and what is refused ----------------------------------------------------------------------------


def test_the_facts_say_what_goes_in_and_comes_out_and_the_learner_is_left_as_it_is(tmp_path):
    learner = learner_of("free").replace(normalization="episode")
    before = [np.array(variable) for variable in learner.variables]
    place = export(learner, tmp_path, optimizer=two_step_sizes)
    for old, variable in zip(before, learner.variables, strict=True):
        np.testing.assert_array_equal(old, variable)
    info = info_of(place)
    assert info["signatures"] == ["adapt_and_predict"] and info["ways"] == 3 and info["state"] == []
    assert info["examples"] == 6 and info["files"]["meta_step"] == "meta_step.mlir"
    answer, step = (info["facts"]["programs"][name] for name in ("adapt_and_predict", "meta_step"))
    shapes = {argument["name"]: argument["shape"] for argument in answer["arguments"]}
    images = [16, 16, 1]
    assert shapes == {
        "support_images": [6, *images],
        "support_labels": [6],
        "query_images": [12, *images],
    }
    assert answer["results"] == ["probabilities"]
    assert step["arguments"][-1] == {"name": "query_labels", "shape": [8, 12], "dtype": "int32"}
    assert step["results"][0] == "loss" and set(step["results"][1:]) <= set(step["variables"])
    training = info["facts"]["training"]
    assert (training["normalization"], training["meta_batch_size"]) == ("episode", 8)
    assert training["optimizer"]["config"]["clip_norm"] == 0.5
    (said,) = (limit for limit in info["limits"] if "meta_step.mlir" in limit)
    assert "on 8 tasks: normalization `episode`, SGD of step size" in said


def test_a_regression_is_exported(tmp_path):
    programs = info_of(export(regression_learner(), tmp_path, optimizer=adam))["facts"]["programs"]
    assert programs["meta_step"]["arguments"][-1]["shape"] == [8, 4, 1]
    assert programs["adapt_and_predict"]["results"] == ["outputs"]


@pytest.mark.parametrize(
    ("options", "optimizer", "why"),
    [
        ({}, None, "no outer optimizer was given"),
        # Second derivatives of max pooling.
        ({"adapted_layers": "all"}, adam, "XLA gets the second derivatives of max pooling wrong"),
        ({"adapted_layers": "all", "differentiation": "first_order"}, adam, None),
    ],
)
def test_a_meta_step_is_written_where_there_is_one_that_xla_gets_right(
    options, optimizer, why, tmp_path
):
    place = export(make_learner(**options), tmp_path, optimizer=optimizer)
    assert (place / "meta_step.mlir").exists() == (why is None)
    if why:
        info = info_of(place)
        assert any(f"no `meta_step.mlir`: {why}" in limit for limit in info["limits"])
        assert set(info["facts"]["programs"]) == {"adapt_and_predict"}
        assert "training" not in info["facts"]


def test_what_the_format_cannot_hold_is_refused(tmp_path, monkeypatch):
    episode = formats.Options("episode", 1.0, ways=3, shots=2, queries=4)
    with pytest.raises(ValueError, match="normalization=support or running.*saved_model"):
        stablehlo.export(learner_of("zero"), tmp_path, episode)
    four_ways = formats.Options("support", 1.0, ways=4, shots=2, queries=4)
    with pytest.raises(ValueError, match="one learned row for each of 3 classes. Received: ways=4"):
        stablehlo.check(learner_of("free"), four_ways)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="needs JAX. It is not installed"):
        stablehlo.export(learner_of("zero"), tmp_path, OPTIONS)


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        ((0.0, 0.0, 0.0), None),
        ((2e-3, 0.0, 0.0), "adapt_and_predict.mlir answers other than the learner"),
        ((0.0, 2e-3, 0.0), "meta_step.mlir answers other than the learner"),
        ((0.0, 0.0, 0.1), "meta_step.mlir answers other than the learner"),
        ((0.0, 0.0, np.nan), "meta_step.mlir answers other than the learner"),
    ],
)
def test_a_program_that_answers_otherwise_is_not_let_out(errors, said, tmp_path, monkeypatch):
    """In place of JAX: the learner's own answers and losses, with an error of each."""
    learner, (answers_off, *losses_off) = compiled(learner_of("prototype"), adam), errors
    batch = list(stablehlo._meta_batch(learner, OPTIONS).values())
    losses = iter(stablehlo._losses(learner, batch) + losses_off)
    runtime = types.SimpleNamespace(
        adapt_and_predict=lambda *task: answers_of(learner, *task) + answers_off,
        meta_step=lambda *batch: next(losses),
    )
    module = types.ModuleType("anil_tf.deploy.runtimes.stablehlo")
    module.Programs = lambda directory, facts: runtime
    monkeypatch.setitem(sys.modules, module.__name__, module)
    before = [np.array(variable) for variable in learner.variables]
    facts = dict.fromkeys((stablehlo.ANSWER, stablehlo.STEP))
    with pytest.raises(RuntimeError, match=said) if said else contextlib.nullcontext():
        DIFFERENCES(learner, tmp_path, OPTIONS, facts)
    for old, variable in zip(before, learner.variables, strict=True):
        np.testing.assert_array_equal(old, variable)
