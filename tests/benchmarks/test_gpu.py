"""The GPU benchmark at a small size: the export, and what runs it elsewhere, on a CPU.

JAX and PyTorch are no dependencies of the project: JAX_PYTHON and TORCH_PYTHON name interpreters that have them.
"""

import dataclasses
import importlib.util
import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest

from benchmarks.gpu import compare, exported, table, timing

PRECISIONS = ("float32", "bfloat16")
SMALL = {"tasks": 2, "shots": 3, "queries": 2, "side": 16, "filters": 4, "inner_steps": 2}


@pytest.fixture(scope="module")
def run(repository):
    """Runs a module of the benchmark in a process of its own."""

    def run(python, module, *arguments):
        command = [python, "-m", f"benchmarks.gpu.{module}", *map(str, arguments)]
        return subprocess.run(
            command, cwd=repository, capture_output=True, text=True, timeout=1800, check=False
        )

    return run


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    """The small meta-step, exported in two precisions; tensorfloat32 differs from float32 on a GPU only."""
    path = tmp_path_factory.mktemp("exported")
    sizes = [f"--{name}={value}" for name, value in SMALL.items()]
    flags = [f"--output_dir={path}", "--precisions", *PRECISIONS, *sizes]
    done = run(sys.executable, "export_step", *flags)
    assert done.returncode == 0, done.stderr
    return path


def _python_with(package, variable):
    if variable in os.environ:
        return os.environ[variable]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"no {package} here: set {variable} to a Python that has it")
    return sys.executable


@pytest.fixture(scope="module")
def jax_python():
    return _python_with("jax", "JAX_PYTHON")


@pytest.fixture(scope="module")
def torch_python():
    return _python_with("torch", "TORCH_PYTHON")


def _found(done):
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


# ---- The export ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_export_holds_the_program_its_variables_and_a_batch(folder):
    step = exported.load(folder / "float32")
    facts, by_name = step.facts, dict(zip(step.facts.variables, step.variables, strict=True))
    # All variables but the learning rate are updated, each by one output.
    first, *updated = facts.outputs
    assert first == exported.LOSS and len(set(updated)) == len(updated)
    kept = set(range(len(facts.variables))) - set(updated)
    assert [facts.variables[position] for position in kept] == ["adam/learning_rate:0"]
    # Variables are those before the first step, weights in the order of the network.
    assert by_name["adam/iteration:0"] == 0 and by_name["adam/iteration:0"].dtype == np.int64
    weights = [step.variables[position] for position in facts.weights]
    kernels = [(3, 3, 3, 4), *3 * [(3, 3, 4, 4)]]
    shapes = [shape for kernel in kernels for shape in (kernel, (4,), (4,))]
    assert [weight.shape for weight in weights] == [*shapes, (4, 5), (5,)]
    for scale, offset in zip(weights[1:-2:3], weights[2:-2:3], strict=True):
        assert (scale == 1).all() and (offset == 0).all()
    # The batch has every class in support and query.
    images, labels, queries, query_labels = step.arguments
    assert images.shape == (2, 15, 16, 16, 3) and queries.shape == (2, 10, 16, 16, 3)
    for given, per_class in ((labels, 3), (query_labels, 2)):
        assert (np.sort(given) == np.repeat(np.arange(5), per_class)).all()


@pytest.mark.slow
def test_the_program_says_how_exact_it_is_and_bfloat16_rounds(folder):
    said = {name: exported.load(folder / name).facts for name in PRECISIONS}
    assert set(said["float32"].matrix_precision) == {"HIGHEST"}
    assert set(said["bfloat16"].matrix_precision) == {"DEFAULT"}
    float32, bfloat16 = (np.array(said[name].losses) for name in ("float32", "bfloat16"))
    assert 0 < np.abs(float32 - bfloat16).max() < 0.05
    assert (np.diff(float32) < 0).all()


def test_order_survives_saving_where_there_are_many_variables(tmp_path):
    variables = [np.full([2], i, np.float32) for i in range(12)]
    facts = exported.Facts(
        "float32", {}, ["x"], [str(i) for i in range(12)], ["loss", 3], [1], {}, [1.0], {}, "c"
    )
    step = exported.Exported(b"program", [np.arange(3)], variables, facts)
    exported.save(step, tmp_path / "new")
    again = exported.load(tmp_path / "new")
    assert [int(value[0]) for value in again.variables] == list(range(12))
    assert again.facts == facts and again.program == b"program"
    np.testing.assert_array_equal(again.arguments[0], np.arange(3))


def test_a_missing_export_is_said_in_one_line(tmp_path):
    with pytest.raises(SystemExit, match="meta.json is missing. Write one by"):
        exported.load(tmp_path)


# ---- What runs it --------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_program_gives_the_same_losses_in_jax(folder, run, jax_python, precision):
    flags = ["--device=cpu", "--steps=2", "--repeats=2"]
    found = _found(run(jax_python, "run_step", folder / precision, *flags))
    assert found["agrees"] and found["seconds"]["median"] > 0
    if precision != "bfloat16":
        np.testing.assert_allclose(
            found["losses"], exported.load(folder / precision).facts.losses, atol=1e-4
        )


@pytest.mark.slow
def test_another_loss_fails(folder, run, jax_python, tmp_path):
    step = exported.load(folder / "float32")
    losses = [*step.facts.losses[:3], step.facts.losses[3] + 0.01, *step.facts.losses[4:]]
    facts = dataclasses.replace(step.facts, losses=losses)
    exported.save(dataclasses.replace(step, facts=facts), tmp_path / "step")
    done = run(jax_python, "run_step", tmp_path / "step", "--device=cpu", "--repeats=0")
    assert done.returncode == 1 and "they DISAGREE" in done.stdout, done.stderr


@pytest.mark.slow
def test_the_program_that_jax_gets_overwrites_its_variables(folder, jax_python, repository):
    program = f"""
import pathlib, jax
from benchmarks.gpu import exported, run_step
jax.config.update("jax_enable_x64", True)
step = exported.load(pathlib.Path({str(folder / "float32")!r}))
meta_step = run_step.MetaStep(step, jax.devices("cpu")[0])
before = list(meta_step._variables)
meta_step()
updated = set(step.facts.outputs) - {{"loss"}}
assert [value.is_deleted() for value in before] == [i in updated for i in range(len(before))]
"""
    done = subprocess.run(
        [jax_python, "-c", program], cwd=repository, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr


METHODS = pytest.mark.parametrize("method", ["loop", "vmap_heads", "vmap_tasks"])


@pytest.mark.slow
@METHODS
@pytest.mark.parametrize("more", [[], ["--channels_last"], ["--compile=default"]])
def test_pytorch_gives_the_same_losses(folder, run, torch_python, method, more):
    flags = ["--device=cpu", "--repeats=0", f"--method={method}", *more]
    found = _found(run(torch_python, "pytorch_gpu", folder / "float32", *flags))
    facts = exported.load(folder / "float32").facts
    np.testing.assert_allclose(found["losses"], facts.losses, atol=1e-4)


@pytest.mark.slow
@METHODS
def test_pytorch_computes_the_body_in_bfloat16(folder, run, torch_python, method):
    flags = ["--device=cpu", "--repeats=0", f"--method={method}"]
    found = _found(run(torch_python, "pytorch_gpu", folder / "bfloat16", *flags))
    assert found["agrees"]
    float32 = exported.load(folder / "float32").facts.losses[0]
    assert abs(found["losses"][0] - float32) > 1e-5  # else it computed in float32


# ---- Times, agreement and the table --------------------------------------------------------------------------------


def test_times_are_per_step_and_the_first_timing_is_discarded(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])
    durations = iter([100.0, 1.0, 2.0, 3.0, 4.0, 5.0])

    def run(steps):
        assert steps == 10
        clock[0] += next(durations)

    seconds = timing.seconds_per_step(run, steps=10, repeats=5)
    assert (seconds["lower_quartile"], seconds["median"]) == pytest.approx((0.2, 0.3))
    assert seconds["upper_quartile"] == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("losses", "status"),
    [
        ([1.0, 0.5], 0),
        ([1.0 + 1e-5, 0.5 - 1e-3], 0),
        ([1.0 + 1e-4, 0.5], 1),
        ([1.0, 0.5 + 1e-2], 1),
        ([1.0, math.nan], 1),
        ([math.nan, 0.5], 1),
    ],
)
def test_losses_beyond_the_tolerance_fail(losses, status, capsys):
    facts = exported.Facts("float32", {}, [], [], [], [], {}, [1.0, 0.5], {}, "c")
    assert timing.report(facts, losses, None, {"name": "x", "device": "y"}) == status
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["agrees"] == (status == 0)


def _result(way, milliseconds, name, agrees=True, **more):
    seconds = dict.fromkeys(("lower_quartile", "median", "upper_quartile"), milliseconds / 1000)
    made = {"way": way, "name": name, "agrees": agrees, "seconds": seconds}
    made |= {"precision": "float32", "commit": "abc", "settings": {"tasks": 8}}
    return made | {"differences": [1e-7, 1e-5]} | more


def test_the_table_judges_each_goal_by_the_fastest_program_that_agrees():
    failed = {"agrees": False, "seconds": None, "error": "out of memory", "compile": "default"}
    command = ["-m", "benchmarks.gpu.pytorch_gpu", "--method=vmap_tasks"]
    results = [
        _result("stablehlo", 2.0, "StableHLO"),
        _result("loop", 30.0, "slow loop"),
        _result("loop", 24.0, "fast loop"),
        _result("loop", 1.0, "wrong loop", agrees=False),
        _result("loop", 10.0, "compiled loop", compile="default"),
        _result("vmap", 3.0, "vmap"),
        _result("vmap", 3.0, "compiled vmap") | failed | {"command": command},
    ]
    text = table.markdown(results, {"device": "a card", "driver": "580"})
    lines = text.splitlines()
    assert (
        "* 10 times the throughput of loop, eager: 12.00 times the fastest (fast loop), met"
        in lines
    )
    assert any("loop, under torch.compile: 5.00 times" in x and x.endswith("missed") for x in lines)
    assert any("vmap, eager: 1.50 times" in x and x.endswith("missed") for x in lines)
    assert "* 2 times the throughput of vmap, under torch.compile: not measured" in lines
    assert "| --method=vmap_tasks | failed: out of memory | | | |" in lines
    assert "| StableHLO | 2.000 (2.000 to 2.000) | 4,000 |  | 1e-07, 1e-05 |" in lines
    assert "* device: a card" in lines and "* commit: abc" in lines


def test_without_the_exported_program_no_goal_is_judged():
    results = [_result("stablehlo", 1.0, "StableHLO", agrees=False), _result("loop", 9.0, "loop")]
    text = table.markdown(results, {})
    assert "met" not in text.replace("meta", "") and text.count("not measured") == 4


def test_what_is_done_is_not_run_again_but_failures_are(tmp_path):
    log = tmp_path / "log"
    fails = [sys.executable, "-c", f"open({str(log)!r}, 'a').write('f'); raise SystemExit('no')"]
    line = json.dumps({"name": "x", "agrees": True, "seconds": None, "differences": [0.0, 0.0]})
    works = [sys.executable, "-c", f"open({str(log)!r}, 'a').write('w'); print('a\\n' + {line!r})"]
    about = {"way": "loop", "precision": "float32", "commit": "abc", "settings": {"tasks": 1}}
    for _ in range(2):
        record = compare.Record(tmp_path / "out", {"device": "a card"})
        assert record.find_or_run(works, about, 60)["agrees"]
        assert record.find_or_run(fails, about, 60)["error"] == "no"
    assert log.read_text() == "wff"
    record.find_or_run(works, about | {"commit": "other"}, 60)
    assert log.read_text() == "wffw"
    assert "failed: no" in (tmp_path / "out" / "table.md").read_text()
    with pytest.raises(SystemExit, match="another machine"):
        compare.Record(tmp_path / "out", {"device": "another card"})
