"""The LiteRT format: the answers of the learner, from builtin operators, where TensorFlow is not installed.

LITERT_PYTHON names an interpreter that has ai-edge-litert and NumPy and no TensorFlow, where there is one; without it
this interpreter serves, TensorFlow put out of its reach.
"""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

pytest.importorskip(
    "ai_edge_litert", reason="no ai-edge-litert here: pip install 'anil_tf[deploy]'"
)

from anil_tf.deploy import exported, formats  # noqa: E402
from anil_tf.deploy import litert as litert_format  # noqa: E402
from anil_tf.deploy.runtimes.litert import LiteRTRuntime  # noqa: E402
from tests.deploy.exports import TEMPERATURE, export  # noqa: E402
from tests.deploy.learners import (  # noqa: E402
    answers_of,
    learner_of,
    make_learner,
    mixed_precision_learner,
    numbers,
    pixels,
    regression_learner,
)

VARIANTS = litert_format.VARIANTS
# What rounding of the weights does to a probability here; of float32 the order of sums alone.
TOLERANCES = {"float32": 2e-5, "float16": 5e-3, "int8": 0.1}
# The numbers of every kind are tested in test_closed_form.py; these are the operations that a file may lose.
KINDS = {
    "free": {},
    "ridge": {"head_initialization": "ridge", "inner_l2": 0.5},
    "a loop of steps": {
        "head_initialization": "zero",
        "inner_steps": 40,
        "inner_step_size": 0.02,
    },
    "implicit": {"differentiation": "implicit", "inner_l2": 0.5},
    "nil": {"head_initialization": "nil"},
    "scalar step size": {"learned_inner_step_size": "scalar", "head_initialization": "zero"},
}
OPTIONS = formats.Options("support", 1.0, ways=3, shots=2, queries=4)


@pytest.fixture
def export_float32(monkeypatch, tmp_path):
    """Spares the two other files where they show nothing."""
    monkeypatch.setattr(litert_format, "VARIANTS", ("float32",))
    return lambda learner, **options: exported.load(
        export(learner, tmp_path, format_name="litert", **options)
    )


# ---- Answers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_answers_as_keras_does_for_any_number_of_ways(
    litert, rounded_learner, variant
):
    model = exported.load(litert, variant)
    for ways in (2, 7):
        support, labels, queries = pixels(ways=ways, queries=9)
        expected = answers_of(rounded_learner, support, labels, queries, temperature=TEMPERATURE)
        state = model.adapt(support, labels)
        assert {tensor["name"] for tensor in model.info["state"]} == set(state)
        apart = model.predict(queries, state)
        for found in (apart, model.adapt_and_predict(support, labels, queries)):
            assert found.dtype == np.float32 and found.shape == (9, ways)
            np.testing.assert_allclose(found, expected, atol=TOLERANCES[variant])
        if variant != "float32":
            assert np.abs(apart - expected).max() > 1e-6  # else its weights were not rounded
        for number in (0, 8):  # a query does not know of the others
            alone = model.predict(queries[number : number + 1], state)
            np.testing.assert_allclose(alone[0], apart[number], atol=1e-5)


@pytest.mark.parametrize(
    "kind",
    [
        "free",
        "ridge",
        "a loop of steps",
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in list(KINDS)[3:]),
    ],
)
def test_every_linear_head_answers_as_keras_does(kind, export_float32):
    learner, task = make_learner(**KINDS[kind]), pixels()
    model = export_float32(learner)
    np.testing.assert_allclose(
        model.adapt_and_predict(*task), answers_of(learner, *task), atol=1e-4
    )
    assert model.ways == (3 if learner.head_initialization == "free" else None)


def test_moving_statistics_leave_a_state_of_the_head_alone(export_float32):
    """And the learner as it was."""
    learner, (support, labels, queries) = learner_of("prototype"), pixels()
    before = [np.array(variable) for variable in learner.variables]
    model = export_float32(learner, normalization="running")
    state = model.adapt(support, labels)
    assert set(state) == {"kernel", "bias"}
    expected = answers_of(learner, support, labels, queries, normalization="running")
    np.testing.assert_allclose(model.predict(queries, state), expected, atol=2e-5)
    for old, variable in zip(before, learner.variables, strict=True):
        np.testing.assert_array_equal(old, variable)


def test_a_body_in_bfloat16_is_exported_in_float32_and_left_as_it_is(export_float32):
    learner, task = mixed_precision_learner(), pixels()
    before = [layer.dtype_policy.name for layer in learner.body._flatten_layers()]
    model = export_float32(learner)
    assert [layer.dtype_policy.name for layer in learner.body._flatten_layers()] == before
    assert "mixed_bfloat16" in before
    exact = answers_of(learner_of("prototype"), *task)
    np.testing.assert_allclose(model.adapt_and_predict(*task), exact, atol=2e-5)
    # What is stated is the difference from the learner as it is, and not as it would be in float32.
    assert 1e-4 < model.info["facts"]["largest_difference"]["float32"] < 5e-2
    assert any("computes its body in bfloat16" in limit for limit in model.info["limits"])


def test_a_regression_answers_as_keras_does(export_float32):
    learner, (inputs, targets, queries) = regression_learner(), numbers()
    model = export_float32(learner)
    found = model.predict(queries, model.adapt(inputs, targets))
    np.testing.assert_allclose(found, answers_of(learner, inputs, targets, queries), atol=1e-5)


def test_images_of_another_size_are_resized_as_pillow_does_and_embedded(litert, rounded_learner):
    def small(images):
        shrunk = [
            Image.fromarray(image[..., 0].astype(np.float32)).resize((16, 16), Image.BILINEAR)
            for image in images
        ]
        return np.stack(shrunk)[..., None]

    support, labels, queries = pixels(side=41)
    model, task = exported.load(litert), (small(support), labels, small(queries))
    expected = answers_of(rounded_learner, *task, temperature=TEMPERATURE)
    found = model.adapt_and_predict(support, labels, queries)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    features = rounded_learner.body(small(queries), training=False)
    np.testing.assert_allclose(model.embed(queries), features, atol=1e-3)


# ---- The files -------------------------------------------------------------------------------------------------------


def parsed(litert, variant):
    from tensorflow.lite.python import schema_py_generated as schema

    path = litert / f"model_{variant}.tflite"
    return schema, schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_there_are_builtin_operators_only(litert, variant):
    schema, model = parsed(litert, variant)
    names = {value: name for name, value in vars(schema.BuiltinOperator).items()}
    used = {
        names[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in model.operatorCodes
    }
    assert "CUSTOM" not in used and "CONV_2D" in used
    assert not [code.customCode for code in model.operatorCodes if code.customCode]


@pytest.mark.parametrize(("variant", "width"), [("float32", 4), ("float16", 2), ("int8", 1)])
def test_weights_are_stored_once_and_in_fewer_bytes_where_they_are_rounded(litert, variant, width):
    _, model = parsed(litert, variant)
    kernel = 3 * 3 * 24 * 24
    buffers = [0 if buffer.data is None else len(buffer.data) for buffer in model.buffers]
    assert buffers.count(width * kernel) == 1
    assert max(buffers) == width * kernel


def test_the_signatures_are_those_of_every_format(litert):
    from ai_edge_litert.interpreter import Interpreter

    found = Interpreter(str(litert / "model_float32.tflite")).get_signature_list()
    state = {"kernel", "bias"} | {f"body_{m}_{i}" for m in ("mean", "variance") for i in range(2)}
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


def test_the_differences_and_what_is_not_checked_are_said(litert):
    info = json.loads((litert / "export.json").read_text())
    differences = info["facts"]["largest_difference"]
    for variant in VARIANTS:
        assert 0 <= differences[variant] < TOLERANCES[variant]
    assert any("check nothing" in limit and "0..ways-1" in limit for limit in info["limits"])
    assert any(f"int8 {differences['int8']:.1e}" in limit for limit in info["limits"])


# ---- Refusals --------------------------------------------------------------------------------------------------------


def test_a_deeper_head_and_episode_are_refused_in_one_line(tmp_path):
    with pytest.raises(ValueError, match="Export as saved_model") as raised:
        litert_format.check(learner_of("two layers"), OPTIONS)
    assert "\n" not in str(raised.value)
    episode = formats.Options("episode", 1.0, ways=3, shots=2, queries=4)
    with pytest.raises(ValueError, match="normalization=support or running.*saved_model"):
        litert_format.export(learner_of("zero"), tmp_path, episode)


@pytest.mark.parametrize(("variant", "wrong"), [("float32", 0.01), ("int8", np.nan)])
def test_a_file_that_answers_otherwise_is_not_let_out(variant, wrong, tmp_path, monkeypatch):
    monkeypatch.setattr(litert_format, "VARIANTS", (variant,))
    right = LiteRTRuntime.predict
    monkeypatch.setattr(
        LiteRTRuntime, "predict", lambda self, *inputs: right(self, *inputs) + wrong
    )
    with pytest.raises(RuntimeError, match=f"model_{variant}.tflite answers other"):
        export(learner_of("prototype"), tmp_path, format_name="litert")


# ---- Where TensorFlow is not -----------------------------------------------------------------------------------------


def test_the_export_and_its_client_run_without_tensorflow(litert, repository, tmp_path):
    support, labels, queries = pixels()
    np.savez(tmp_path / "task.npz", support=support, labels=labels, queries=queries)
    np.savez(tmp_path / "examples.npz", **{f"c{i}": support[labels == i] for i in range(3)})
    np.save(tmp_path / "queries.npy", queries)
    program = f"""
import sys; sys.modules.update(tensorflow=None, keras=None)
import numpy as np, runpy
sys.path.insert(0, {str(repository)!r})
from anil_tf.deploy import exported
task = np.load("task.npz")
model = exported.load({str(litert)!r})
np.save("found.npy", model.predict(task["queries"], model.adapt(task["support"], task["labels"])))
for labels in (task["labels"] + 1, task["labels"] * 2):
    try:
        model.adapt(task["support"], labels)
    except ValueError as error:
        print(error)
sys.argv[1:] = ["examples.npz", "queries.npy"]
runpy.run_path({str(litert / "client.py")!r}, run_name="__main__")
assert not any(name.startswith("tensorflow.") for name in sys.modules)
"""
    python = os.environ.get("LITERT_PYTHON", sys.executable)
    done = subprocess.run(
        [python, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("support_labels: expected classes 0..ways-1") == 2
    model = exported.load(litert)
    expected = model.predict(queries, model.adapt(support, labels))
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), expected, atol=1e-6)
    assert f"3: c{expected[3].argmax()} {expected[3].max():.1%}, " in done.stdout
