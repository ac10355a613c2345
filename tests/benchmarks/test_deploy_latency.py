"""The suite `deploy`: its steps, its arithmetic, PyTorch's answers, and, marked slow, the whole of it at a tiny size.

TORCH_PYTHON names an interpreter that has PyTorch, where this one has not.
"""

import importlib.util
import json
import os
import sys

import numpy as np
import pytest

from benchmarks import deploy_latency, meta_batch
from benchmarks.deploy_latency import Sizes
from benchmarks.deploy_steps import STEPS, Steps
from benchmarks.worker import Worker

TINY = Sizes(side=16, filters=4, inner_steps=3)


@pytest.fixture
def batch(tmp_path):
    path = tmp_path / "batch.npz"
    meta_batch.write(path, tasks=1, queries=1, side=TINY.side, filters=TINY.filters)
    return path


class Echo:
    """A model that remembers what it was given."""

    def __init__(self):
        self.calls = []

    def adapt(self, images, labels):
        self.calls.append(("adapt", images, labels))
        return "state"

    def predict(self, images, state):
        self.calls.append(("predict", images, state))
        return np.array([[0.25, 0.75]])

    def adapt_and_predict(self, images, labels, queries):
        self.calls.append(("adapt_and_predict", images, queries))
        return np.array([[0.5, 0.5]])


def test_the_steps_load_adapt_and_ask_in_turn(batch):
    model = Echo()
    steps = Steps(lambda: model, dict(np.load(batch)))
    assert [steps[name]()() for name in STEPS] == [0.0, 0.0, 0.25, 0.5]
    (_, images, labels), (_, query, state), (_, again, queries) = model.calls
    assert images.dtype == np.uint8 and images.shape == (25, 16, 16, 3) and again is images
    assert len(labels) == 25 and state == "state" and query.shape == queries.shape == (1, 16, 16, 3)
    model.adapt_and_predict = lambda *task: np.array([[0.1, 0.2, 0.7]])
    assert [steps[f"probability {c}"]()() for c in range(3)] == [0.1, 0.2, 0.7]
    with pytest.raises(ValueError, match="expected one of load, adapt, .*received 'fly'"):
        steps["fly"]


OFF = {
    "keras": 0.0,
    "saved_model": 1e-6,
    "litert float32": 1e-4,
    "litert float16": 5e-3,
    "litert int8": 0.05,
    "pytorch": 1e-5,
}


@pytest.mark.parametrize(
    ("normalization", "changed", "said"),
    [
        ("support", {}, None),
        ("support", {"pytorch": 0.3}, None),  # which computes something else there
        ("running", {"pytorch": 0.3}, "pytorch answers otherwise than Keras under running"),
        ("running", {"litert float32": 0.005}, "litert float32 answers otherwise"),
        ("support", {"litert float16": 0.02}, "litert float16 answers otherwise"),
        ("support", {"litert int8": float("nan")}, "litert int8 answers otherwise"),
    ],
)
def test_who_answers_otherwise_is_not_timed(monkeypatch, normalization, changed, said):
    """In any class: the error is that of the last."""
    off = OFF | changed
    answer = lambda command: np.array([0.5, 0.3, 0.2 + off[command[0]]])  # noqa: E731
    monkeypatch.setattr(deploy_latency, "_answer", answer)
    commands = {name: (name,) for name in off}
    if said is not None:
        with pytest.raises(RuntimeError, match=said):
            deploy_latency._differences(commands, normalization)
        return
    found = deploy_latency._differences(commands, normalization)
    assert ("pytorch" in found) == (normalization == "running")
    assert found["litert int8"] == pytest.approx(0.05)


def warm(**medians):
    return {
        name.replace("_x_", " "): {call: np.array([t, t + 2.0]) for call in deploy_latency.WARM}
        for name, t in medians.items()
    }


OURS = {"keras": 9.0, "saved_model": 8.0, "litert_x_float32": 4.0, "litert_x_float16": 4.5}


def test_our_fastest_is_compared_with_pytorch_as_it_is_written_and_with_its_fastest():
    times = warm(**OURS, litert_x_int8=2.0, pytorch=14.0, pytorch_x_channels_last=6.0)
    ratios = deploy_latency._ratios(times)
    assert ratios["over_pytorch"]["compared"] == ["litert int8", "pytorch"]
    assert ratios["over_pytorch"]["median"] == pytest.approx((2 / 14 + 4 / 16) / 2)
    assert ratios["exact_over_pytorch"]["compared"] == ["litert float32", "pytorch"]
    fastest = ["litert float32", "pytorch channels_last"]
    assert ratios["exact_over_fastest_pytorch"]["compared"] == fastest


def test_without_pytorch_nothing_is_compared():
    assert deploy_latency._ratios(warm(**OURS, litert_x_int8=2.0)) is None
    result = made_up(1.0) | {"ratios": {"support": None, "running": None}}
    assert "Not compared: no PyTorch." in deploy_latency.sentence(result)


@pytest.fixture
def torch_python():
    if "TORCH_PYTHON" in os.environ:
        return os.environ["TORCH_PYTHON"]
    if importlib.util.find_spec("torch") is None:
        pytest.skip("no torch here: set TORCH_PYTHON to a Python that has it")
    return sys.executable


@pytest.mark.slow
@pytest.mark.parametrize("layout", [[], ["--channels_last"]])
@pytest.mark.parametrize("normalization", ["running", "support"])
def test_pytorch_gives_the_learners_answers(batch, torch_python, repository, normalization, layout):
    """Together, under `support`, those of normalisation over support and query, which it does."""
    arrays = dict(np.load(batch))
    learner = deploy_latency.learner_of(arrays, TINY)
    images, labels = arrays["support_images"].round(), arrays["support_labels"]
    query = arrays["query_images"][:, :1].round()
    adapted = learner.adapt(images[0], labels[0], normalization=normalization)
    expected_apart = expected_together = adapted.predict(query[0])
    if normalization == "support":
        names = ("support_images", "support_labels", "query_images")
        logits = np.array(learner(dict(zip(names, (images, labels, query), strict=True))))[0]
        expected_together = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    script = repository / "benchmarks" / "pytorch_adapt.py"
    flags = [f"--batch={batch}", f"--normalization={normalization}", "--inner_steps=3", *layout]
    with Worker(torch_python, script, *flags) as worker:
        for step in ("load", "adapt"):
            worker.loss(step)
        together, apart = worker.loss("adapt_and_predict"), worker.loss("predict")
    assert together == pytest.approx(float(expected_together[0, 0]), abs=1e-5)
    assert apart == pytest.approx(float(expected_apart[0, 0]), abs=1e-5)


def made_up(median):
    spread = {"median": median, "lower_quartile": median, "upper_quartile": median}
    calls = ("load", "adapt", "predict", "adapt_and_predict", "load + adapt_and_predict")
    times = {
        "warm": dict.fromkeys(deploy_latency.WARM, spread),
        "cold": dict.fromkeys(calls, spread),
    }
    ratio = spread | {"compared": ["litert int8", "pytorch"]}
    by_normalization = {"keras": times, "pytorch": times}
    return {
        "setting": "a setting",
        "rounds": 3,
        "milliseconds": dict.fromkeys(deploy_latency.NORMALIZATIONS, by_normalization),
        "ratios": {
            "support": dict.fromkeys(deploy_latency.RATIOS, ratio),
            "running": None,
        },
        "differences": {"support": {"keras": 0.0}, "running": {"keras": 0.0, "pytorch": 1e-7}},
    }


@pytest.mark.parametrize(("median", "said"), [(0.5, "| met "), (0.6, "| NOT MET ")])
def test_the_sentence_says_whether_the_goal_is_met(median, said):
    text = deploy_latency.sentence(made_up(median))
    (line,) = (x for x in text.splitlines() if "| 0.5 " in x)
    assert "| support " in line and said in line
    assert deploy_latency.RATIOS[deploy_latency.JUDGED][0] in line and "in float32" in line
    assert len({len(line) for line in deploy_latency.table(made_up(1.0)).splitlines()[:4]}) == 1


def test_the_pages_show_what_was_measured(repository):
    """The tables in benchmarks/README.md and the numbers in docs/export.md come from the committed file."""
    folder = repository / "benchmarks"
    result = json.loads((folder / "measured" / "deploy.json").read_text())
    readme = (folder / "README.md").read_text()
    assert deploy_latency.table(result) in readme
    assert deploy_latency.ratios_table(result) in readme
    assert result["commit"][:7] in readme
    page = (repository / "docs" / "export.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines()]
    for runtime, times in result["milliseconds"]["support"].items():
        warm, cold = times["warm"], times["cold"]
        cells = [f"{warm[call]['median']:.1f}" for call in deploy_latency.WARM]
        cells += [f"{cold['load + adapt_and_predict']['median']:.0f}"]
        assert [runtime, *cells] in rows


@pytest.mark.slow
def test_the_whole_suite_at_a_tiny_size():
    pytest.importorskip("ai_edge_litert")
    python = os.environ.get("TORCH_PYTHON")
    result = deploy_latency.measure(pytorch=python, rounds=2, cold_starts=1, sizes=TINY)
    result = json.loads(json.dumps(result))
    runtimes = {*deploy_latency.OURS, *(deploy_latency.PYTORCH if python else ())}
    for normalization in deploy_latency.NORMALIZATIONS:
        assert set(result["milliseconds"][normalization]) == runtimes
    assert (result["ratios"]["support"] is None) == (python is None)
    assert set(result["differences"]["support"]) == set(deploy_latency.OURS)
    assert set(result["differences"]["running"]) == runtimes
    for differences in result["differences"].values():
        for runtime, difference in differences.items():
            assert difference < deploy_latency.ROUNDED.get(runtime, 1e-4)
    assert {"hardware", "versions", "commit"} <= set(result)
    assert "adapt and predict" in deploy_latency.sentence(result) or python is None
