"""The LiteRT format: the answers of the learner, from builtin operators, where TensorFlow is not installed.

LITERT_PYTHON names an interpreter that has ai-edge-litert and NumPy and no TensorFlow, where there is one; without it
this interpreter serves, TensorFlow put out of its reach.
"""

import ast
import json
import os
import pathlib
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest

pytest.importorskip(
    "ai_edge_litert", reason="no ai-edge-litert here: pip install 'anil_tf[deploy]'"
)

from anil_tf.deploy import clients, exported, formats, litert  # noqa: E402
from anil_tf.deploy.runtimes.litert import LiteRTRuntime  # noqa: E402
from anil_tf.meta_learner import MetaLearner  # noqa: E402
from anil_tf.models import conv4, split  # noqa: E402
from tests.deploy.exports import export  # noqa: E402
from tests.deploy.learners import (  # noqa: E402
    learner_of,
    mixed_precision_learner,
    numbers,
    pixels,
    regression_learner,
)
from tests.learners import conv_learner  # noqa: E402

CLIENT = pathlib.Path(clients.__file__).with_name("litert.py")
# What rounding of the weights does to a probability here; of float32 the order of sums alone.
TOLERANCES = {"float32": 2e-5, "float16": 5e-3, "int8": 0.1}
KINDS = ("free", "zero", "ridge", "nil", "implicit", "scalar step size")
WITHOUT_TENSORFLOW = "import sys; sys.modules.update(tensorflow=None, keras=None)\n"


@pytest.fixture(scope="module")
def learner():
    """One with enough filters to be rounded: the converter leaves tensors of under 1,024 numbers alone."""
    keras.utils.set_random_seed(1)
    network = conv4(input_shape=(16, 16, 1), classes=3, filters=24)
    rng = np.random.default_rng(3)
    for variable in network.non_trainable_variables:
        variable.assign(rng.uniform(0.2, 0.9, variable.shape))
    body, head = split(network, adapted_layers=1)
    return MetaLearner(body, head, inner_steps=2, head_initialization="prototype")


@pytest.fixture(scope="module")
def directory(learner, tmp_path_factory):
    place = export(learner, tmp_path_factory.mktemp("litert"), format_name="litert", value=1.7)
    shutil.copy(CLIENT, place / "client.py")
    return place


@pytest.fixture
def only_float32(monkeypatch):
    """Spares the two other files where they show nothing."""
    monkeypatch.setattr(litert, "VARIANTS", ("float32",))


def answers_of(learner, support, labels, queries, temperature=1.0, normalization="support"):
    """Of Keras."""
    logits = learner.adapt(support, labels, normalization=normalization).predict_logits(queries)
    shares = np.exp((logits - logits.max(axis=-1, keepdims=True)) / temperature)
    return shares / shares.sum(axis=-1, keepdims=True)


def without_tensorflow(program, cwd):
    python = os.environ.get("LITERT_PYTHON", sys.executable)
    command = [python, "-c", WITHOUT_TENSORFLOW + program]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False
    )


# ---- Answers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ways", [2, 3, 7])
@pytest.mark.parametrize("variant", litert.VARIANTS)
def test_every_variant_answers_as_keras_does_for_any_number_of_ways(
    directory, learner, variant, ways
):
    model = exported.load(directory, variant)
    support, labels, queries = pixels(ways=ways, queries=9)
    expected = answers_of(learner, support, labels, queries, temperature=1.7)
    state = model.adapt(support, labels)
    assert {tensor["name"] for tensor in model.info["state"]} == set(state)
    for found in (model.predict(queries, state), model.adapt_and_predict(support, labels, queries)):
        assert found.dtype == np.float32 and found.shape == (9, ways)
        np.testing.assert_allclose(found, expected, atol=TOLERANCES[variant])
    if variant != "float32":
        assert np.abs(found - expected).max() > 1e-6  # else its weights were not rounded


@pytest.mark.parametrize("kind", KINDS)
def test_every_linear_head_answers_as_keras_does(kind, tmp_path, only_float32):
    learner = learner_of(kind)
    model = exported.load(export(learner, tmp_path, format_name="litert"))
    task = pixels()
    np.testing.assert_allclose(
        model.adapt_and_predict(*task), answers_of(learner, *task), atol=1e-4
    )
    assert model.ways == (3 if learner.head_initialization == "free" else None)


def test_many_inner_steps_become_a_loop(tmp_path, only_float32):
    learner = conv_learner(head_initialization="zero", inner_steps=40, inner_step_size=0.02)
    model = exported.load(export(learner, tmp_path, format_name="litert"))
    task = pixels(ways=4)
    np.testing.assert_allclose(
        model.adapt_and_predict(*task), answers_of(learner, *task), atol=1e-4
    )


def test_moving_statistics_leave_a_state_of_the_head_alone(tmp_path, only_float32):
    learner = learner_of("prototype")
    place = export(learner, tmp_path, format_name="litert", normalization="running")
    model = exported.load(place)
    support, labels, queries = pixels()
    state = model.adapt(support, labels)
    assert set(state) == {"kernel", "bias"}
    expected = answers_of(learner, support, labels, queries, normalization="running")
    np.testing.assert_allclose(model.predict(queries, state), expected, atol=2e-5)


def test_a_body_in_bfloat16_is_exported_in_float32_and_left_as_it_is(tmp_path, only_float32):
    learner = mixed_precision_learner()
    before = [layer.dtype_policy.name for layer in learner.body._flatten_layers()]
    model = exported.load(export(learner, tmp_path, format_name="litert"))
    assert [layer.dtype_policy.name for layer in learner.body._flatten_layers()] == before
    assert "mixed_bfloat16" in before
    task = pixels()
    exact = answers_of(learner_of("prototype"), *task)
    np.testing.assert_allclose(model.adapt_and_predict(*task), exact, atol=2e-5)
    # What is stated is the difference from the learner as it is, and not as it would be in float32.
    assert 1e-4 < model.info["facts"]["largest_difference"]["float32"] < 5e-2
    assert any("computes its body in bfloat16" in limit for limit in model.info["limits"])


def test_a_regression_answers_as_keras_does(tmp_path, only_float32):
    learner = regression_learner()
    model = exported.load(export(learner, tmp_path, format_name="litert"))
    inputs, targets, queries = numbers()
    expected = learner.adapt(inputs, targets).predict(queries)
    np.testing.assert_allclose(
        model.predict(queries, model.adapt(inputs, targets)), expected, atol=1e-5
    )


def test_images_of_another_size_are_resized_as_pillow_does(directory, learner):
    from PIL import Image

    support, labels, queries = pixels(side=41)
    model = exported.load(directory)

    def small(images):
        shrunk = [
            Image.fromarray(image[..., 0].astype(np.float32)).resize((16, 16), Image.BILINEAR)
            for image in images
        ]
        return np.stack(shrunk)[..., None]

    expected = answers_of(learner, small(support), labels, small(queries), temperature=1.7)
    np.testing.assert_allclose(
        model.adapt_and_predict(support, labels, queries), expected, atol=1e-4
    )


def test_an_answer_does_not_depend_on_the_other_queries(directory):
    support, labels, queries = pixels(queries=6)
    for variant in litert.VARIANTS:
        model = exported.load(directory, variant)
        state = model.adapt(support, labels)
        together = model.predict(queries, state)
        for i in range(len(queries)):
            alone = model.predict(queries[i : i + 1], state)
            np.testing.assert_allclose(alone[0], together[i], atol=1e-5)


def test_embed_is_the_body_with_its_moving_statistics(directory, learner):
    _, _, images = pixels()
    expected = learner.body(images.astype("float32"), training=False)
    np.testing.assert_allclose(exported.load(directory).embed(images), expected, atol=1e-4)


# ---- The files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", litert.VARIANTS)
def test_there_are_builtin_operators_only(directory, variant):
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf((directory / f"model_{variant}.tflite").read_bytes(), 0)
    names = {value: name for name, value in vars(schema.BuiltinOperator).items()}
    used = {
        names[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in model.operatorCodes
    }
    assert "CUSTOM" not in used and "CONV_2D" in used
    assert not [code.customCode for code in model.operatorCodes if code.customCode]


def test_weights_are_stored_once_and_smaller_where_they_are_rounded(directory, learner):
    weights = 4 * learner.body.count_params()
    sizes = {v: (directory / f"model_{v}.tflite").stat().st_size for v in litert.VARIANTS}
    graph = sizes["float32"] - weights
    assert 0 < graph < 120_000  # the four functions; a second set of weights would be 60,000 more
    assert sizes["float16"] - graph < 0.65 * weights
    assert sizes["int8"] - graph < 0.45 * weights


def test_the_signatures_are_those_of_every_format(directory):
    from ai_edge_litert.interpreter import Interpreter

    found = Interpreter(str(directory / "model_float32.tflite")).get_signature_list()
    statistics = {f"body_{m}_{i}" for m in ("mean", "variance") for i in range(4)}
    state = {"kernel", "bias"} | statistics
    support = {"support_images", "support_labels"}
    wanted = {
        "adapt": (support, state),
        "predict": ({"query_images"} | state, {"probabilities"}),
        "adapt_and_predict": (support | {"query_images"}, {"probabilities"}),
        "embed": ({"images"}, {"features"}),
    }
    assert {
        name: (set(sides["inputs"]), set(sides["outputs"])) for name, sides in found.items()
    } == wanted


def test_the_differences_and_what_is_not_checked_are_said(directory):
    info = json.loads((directory / "export.json").read_text())
    differences = info["facts"]["largest_difference"]
    for variant in litert.VARIANTS:
        assert 0 <= differences[variant] < TOLERANCES[variant]
    assert any("check nothing" in limit and "0..ways-1" in limit for limit in info["limits"])
    assert any(f"int8 {differences['int8']:.1e}" in limit for limit in info["limits"])


def test_the_learner_is_left_as_it_is(learner, tmp_path, only_float32):
    before = [np.array(variable) for variable in learner.variables]
    export(learner, tmp_path, format_name="litert")
    for old, variable in zip(before, learner.variables, strict=True):
        np.testing.assert_array_equal(old, variable)


# ---- Refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["two layers", "MAML"])
def test_a_deeper_head_is_refused_in_one_line(kind, tmp_path):
    options = formats.Options("support", 1.0, ways=3, shots=2, queries=4)
    with pytest.raises(ValueError, match="Export as saved_model") as raised:
        litert.check(learner_of(kind), options)
    assert "\n" not in str(raised.value) and not list(tmp_path.iterdir())


def test_episode_is_refused(learner, tmp_path):
    options = formats.Options("episode", 1.0, ways=3, shots=2, queries=4)
    with pytest.raises(ValueError, match="normalization=support or running.*saved_model"):
        litert.export(learner, tmp_path, options)


@pytest.mark.parametrize(
    ("variant", "wrong"), [("float32", 0.01), ("float16", np.nan), ("int8", np.nan)]
)
def test_a_file_that_answers_otherwise_is_not_let_out(
    variant, wrong, learner, tmp_path, monkeypatch
):
    monkeypatch.setattr(litert, "VARIANTS", (variant,))
    right = LiteRTRuntime.predict
    monkeypatch.setattr(
        LiteRTRuntime, "predict", lambda self, *inputs: right(self, *inputs) + wrong
    )
    with pytest.raises(RuntimeError, match=f"model_{variant}.tflite answers other"):
        export(learner, tmp_path, format_name="litert")


# ---- Where TensorFlow is not -----------------------------------------------------------------------------------------


def test_the_export_runs_without_tensorflow(directory, repository, tmp_path):
    support, labels, queries = pixels()
    np.savez(tmp_path / "task.npz", support=support, labels=labels, queries=queries)
    program = f"""
import numpy as np
sys.path.insert(0, {str(repository)!r})
from anil_tf.deploy import exported
task = np.load("task.npz")
model = exported.load({str(directory)!r})
np.save("found.npy", model.predict(task["queries"], model.adapt(task["support"], task["labels"])))
for labels in (task["labels"] + 1, task["labels"] * 2):
    try:
        model.adapt(task["support"], labels)
    except ValueError as error:
        print(error)
assert not any(name.startswith("tensorflow.") for name in sys.modules)
"""
    done = without_tensorflow(program, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("support_labels: expected classes 0..ways-1") == 2
    model = exported.load(directory)
    expected = model.predict(queries, model.adapt(support, labels))
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), expected, atol=1e-6)


def client(directory, place, *arguments):
    program = f"""
import runpy
sys.argv = ["client.py", *{arguments!r}]
runpy.run_path({str(directory / "client.py")!r}, run_name="__main__")
"""
    return without_tensorflow(program, place)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Examples of three classes and queries, as the client takes them."""
    place = tmp_path_factory.mktemp("task")
    support, labels, queries = pixels()
    classes = {name: support[labels == i] for i, name in enumerate(("cat", "dog", "a hen"))}
    np.savez(place / "examples.npz", **classes)
    np.save(place / "queries.npy", queries)
    (place / "empty.npy").touch()
    np.savez(place / "one.npz", cat=support[:1])
    np.savez(place / "colour.npz", cat=support[:1], dog=np.repeat(support[1:2], 3, axis=-1))
    return place


@pytest.mark.parametrize("variant", [(), ("int8",)])
def test_the_client_prints_what_the_export_says(directory, place, variant):
    done = client(directory, place, "examples.npz", "queries.npy", *variant)
    assert done.returncode == 0, done.stderr
    with np.load(place / "examples.npz") as file:
        classes = dict(file)
    model = exported.load(directory, *variant)
    counts = [len(images) for images in classes.values()]
    rows = model.adapt_and_predict(
        np.concatenate(list(classes.values())),
        np.repeat(np.arange(3), counts),
        np.load(place / "queries.npy"),
    )
    lines = [line for line in done.stdout.splitlines() if ": " in line]
    for number, (line, row) in enumerate(zip(lines, rows, strict=True)):
        best = np.argsort(-row)
        names = ", ".join(f"{list(classes)[c]} {row[c]:.1%}" for c in best)
        assert line == f"{number}: {names}"


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
def test_the_client_says_in_one_line_what_is_wrong(directory, place, arguments, message):
    done = client(directory, place, *arguments)
    assert done.returncode == 1 and message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_the_client_is_short_and_needs_little():
    text = CLIENT.read_text()
    assert len(text.splitlines()) < 40
    nodes = list(ast.walk(ast.parse(text)))
    imported = {
        a.name.partition(".")[0] for n in nodes if isinstance(n, ast.Import) for a in n.names
    }
    imported |= {n.module.partition(".")[0] for n in nodes if isinstance(n, ast.ImportFrom)}
    assert imported <= {*sys.stdlib_module_names, "numpy", "ai_edge_litert"}
