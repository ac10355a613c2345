"""What a meta-step costs: beside plain training, beside PyTorch, in the number of inner steps, in memory.

Steps are timed in turns, one of each in a round, in a process for each framework, of which one works at a time; so what
else the machine does falls on all of them. A ratio is the median over rounds of the ratio within a round.

Processes: `tasks`, TensorFlow with the threads that bin/train.py takes; `plain`, TensorFlow with its own, for training
that has no tasks; `pytorch`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anil_tf.evaluation import protocol
from benchmarks import growth, input_share, meta_batch
from benchmarks.worker import Worker

_HERE = Path(__file__).resolve().parent
_MIB = 2**20


@dataclasses.dataclass(frozen=True)
class Ratio:
    """One line of the table.

    Attributes:
        key: of the result.
        words: what is compared.
        step: whose time is the numerator.
        others: the fastest of these is the denominator.
        at_most: the goal.
    """

    key: str
    words: str
    step: str
    others: tuple[str, ...]
    at_most: float


_LAYOUTS = ("", "_channels_last")
_ANIL_IN_PYTORCH = tuple(
    f"pytorch anil_{method}{layout}@10"
    for method, layout in itertools.product(("loop", "higher", "vmap"), _LAYOUTS)
)
_MIXED_IN_PYTORCH = tuple(
    f"pytorch anil_{method}{layout}_bfloat16@10"
    for method, layout in itertools.product(("loop", "higher", "vmap"), _LAYOUTS)
)
_SUPERVISED = ("plain supervised", "plain supervised_jit", "plain supervised_folded")

TIMES = (
    Ratio(
        "anil_over_supervised",
        "ANIL, N = 10 / supervised step on the same images",
        "tasks anil@10",
        _SUPERVISED,
        1.05,
    ),
    Ratio("n50_over_n1_time", "ANIL, N = 50 / N = 1", "tasks anil@50", ("tasks anil@1",), 1.15),
    Ratio(
        "anil_over_pytorch",
        "ANIL, N = 10 / the fastest in PyTorch, float32",
        "tasks anil@10",
        _ANIL_IN_PYTORCH,
        0.75,
    ),
    Ratio(
        "mixed_over_pytorch",
        "ANIL, N = 10 / the fastest in PyTorch, bfloat16 body",
        "tasks anil_bfloat16@10",
        _ANIL_IN_PYTORCH + _MIXED_IN_PYTORCH,
        0.70,
    ),
)
MAML_TIMES = (
    Ratio(
        "maml_over_pytorch",
        "MAML, second order, N = 5 / the loop in PyTorch",
        "tasks maml@5",
        tuple(f"pytorch maml_loop{layout}@5" for layout in _LAYOUTS),
        0.75,
    ),
    Ratio(
        "maml_explicit_over_unrolled",
        "MAML, N = 5, explicit / unrolled",
        "tasks maml_explicit@5",
        ("tasks maml@5",),
        float("inf"),
    ),
)
MEMORY = (
    Ratio("n50_over_n1_memory", "ANIL, N = 50 / N = 1", "anil@50", ("anil@1",), 1.05),
    Ratio("maml_n5_over_n1_memory", "MAML, unrolled, N = 5 / 1", "maml@5", ("maml@1",), np.inf),
    Ratio(
        "maml_explicit_n5_over_n1_memory",
        "MAML, explicit, N = 5 / 1",
        "maml_explicit@5",
        ("maml_explicit@1",),
        1.05,
    ),
)
_INPUT = Ratio("input_share", "drawing the tasks / ANIL, N = 5", "", (), input_share.GOAL)


# ---- Measuring -------------------------------------------------------------------------------------------------------


def measure(
    *,
    pytorch: str | None,
    rounds: int = 12,
    maml_rounds: int = 4,
    sizes: Mapping[str, int] | None = None,
    growth_png: Path | None = None,
    input_sizes: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Times all steps, and takes their memory.

    Args:
        pytorch: a Python interpreter that has benchmarks/requirements.txt; None leaves PyTorch's rows out.
        rounds: how often each step is timed.
        maml_rounds: how often each step of MAML is.
        sizes: of the meta-batch, as `meta_batch.write` takes them, where they are to be others than its own.
        growth_png: where the picture of how costs grow goes; None leaves that measurement out.
        input_sizes: as `input_share.measure` takes them, where they are to be others than its own.

    Returns:
        Under the key of each ratio its median, None where it could not be measured; `spread`: quartiles by key;
        `compared`: the two steps by key; `milliseconds`: median time by step; `mebibytes`: peak memory by step;
        `growth`; `input_share`; `hardware`, `versions` and `commit`.
    """
    with tempfile.TemporaryDirectory() as folder:
        batch = Path(folder, "batch.npz")
        meta_batch.write(batch, **(sizes or {}))
        result: dict[str, Any] = {"spread": {}, "compared": {}, "milliseconds": {}, "mebibytes": {}}
        with contextlib.ExitStack() as stack:
            workers = _start(stack, batch, pytorch)
            result["versions"] = {name: worker.describe() for name, worker in workers.items()}
            for ratios, count in ((TIMES, rounds), (MAML_TIMES, maml_rounds)):
                times = _time_in_turns(workers, _steps(ratios), count)
                _add_times(result, times, ratios)
        _add_memory(result, batch)
        share = input_share.measure(**(input_sizes or {}))
        result["input_share"], result["spread"]["input_share"] = (
            share["input_share"],
            share["spread"],
        )
        if growth_png is not None:
            result["growth"] = growth.measure(Path(folder), python=sys.executable)
            growth.draw(result["growth"], growth_png)
    return result | {"hardware": protocol.hardware(), "commit": protocol.commit()}


def _start(stack: contextlib.ExitStack, batch: Path, pytorch: str | None) -> dict[str, Worker]:
    tensorflow = (sys.executable, _HERE / "tensorflow_steps.py", f"--batch={batch}")
    commands: dict[str, tuple] = {
        "tasks": (*tensorflow, "--share_out_cores"),
        "plain": tensorflow,
    }
    if pytorch is not None:
        commands["pytorch"] = (pytorch, _HERE / "pytorch_steps.py", f"--batch={batch}")
    return {name: stack.enter_context(Worker(*command)) for name, command in commands.items()}


def _steps(ratios: Sequence[Ratio]) -> list[str]:
    """All steps that some ratios compare, each once."""
    return list(dict.fromkeys(step for ratio in ratios for step in (ratio.step, *ratio.others)))


def _time_in_turns(
    workers: Mapping[str, Worker], steps: Sequence[str], rounds: int
) -> dict[str, np.ndarray]:
    """Milliseconds [rounds] of each step whose process is there."""
    places = {step: step.split(" ") for step in steps}
    here = {step: (workers[name], what) for step, (name, what) in places.items() if name in workers}
    for step in with_progress(here, "preparing"):
        worker, what = here[step]
        worker.time(what, repeats=2)
    times: dict[str, list[float]] = {step: [] for step in here}
    for _ in with_progress(range(rounds), "rounds"):
        for step, (worker, what) in here.items():
            times[step] += worker.time(what, repeats=1)
    for worker, what in here.values():
        worker.forget(what)
    return {step: 1e3 * np.array(seconds) for step, seconds in times.items()}


def with_progress(items: Any, words: str) -> Any:
    from tqdm import tqdm

    return tqdm(items, desc=words, leave=False, disable=None)


def _add_times(
    result: dict[str, Any], times: Mapping[str, np.ndarray], ratios: Sequence[Ratio]
) -> None:
    medians = {step: float(np.median(values)) for step, values in times.items()}
    result["milliseconds"] |= medians
    for ratio in ratios:
        others = [step for step in ratio.others if step in times]
        result[ratio.key] = None
        if others:
            fastest = min(others, key=medians.__getitem__)
            _add_ratio(result, ratio.key, times[ratio.step] / times[fastest])
            result["compared"][ratio.key] = [ratio.step, fastest]


def _add_ratio(result: dict[str, Any], key: str, values: np.ndarray) -> None:
    lower, median, upper = np.percentile(values, [25, 50, 75])
    result[key] = float(median)
    result["spread"][key] = {
        "lower_quartile": float(lower),
        "upper_quartile": float(upper),
        "repeats": len(values),
    }


def _add_memory(result: dict[str, Any], batch: Path, repeats: int = 3) -> None:
    """Peak resident memory above that of the imported framework, each step `repeats` times in a process of its own."""
    used: dict[str, np.ndarray] = {}
    for step in with_progress(_steps(MEMORY), "memory"):
        peaks = [_peak(batch, step) for _ in range(repeats)]
        used[step] = np.array(peaks) / _MIB
        result["mebibytes"][step] = float(np.median(used[step]))
    for ratio in MEMORY:
        _add_ratio(result, ratio.key, used[ratio.step] / used[ratio.others[0]])
        result["compared"][ratio.key] = [ratio.step, ratio.others[0]]


def _peak(batch: Path, step: str) -> int:
    script = _HERE / "tensorflow_steps.py"
    with Worker(sys.executable, script, f"--batch={batch}", "--share_out_cores") as worker:
        memory = worker.peak_memory(step, repeats=3)
    return memory["peak"] - memory["before"]


# ---- Saying what was found -------------------------------------------------------------------------------------------


def table(result: dict[str, Any]) -> str:
    """Returns what `measure` found as a table in Markdown, which reads well on a terminal too.

    Args:
        result: as `measure` returns it, or as it was read from a file.
    """
    rows = [("ratio", "key", "median (quartiles)", "at most", "")]
    ordered = (*TIMES[:2], MEMORY[0], *TIMES[2:], MAML_TIMES[0], _INPUT, MAML_TIMES[1], *MEMORY[1:])
    rows += [_row(result, ratio) for ratio in ordered]
    return aligned(rows)


def _row(result: dict[str, Any], ratio: Ratio) -> tuple[str, ...]:
    value, goal = result[ratio.key], ratio.at_most
    kind = " (memory)" if ratio in MEMORY else ""
    limit = "" if np.isinf(goal) else f"{goal:.2f}"
    if value is None:
        return ratio.words + kind, f"`{ratio.key}`", "not measured: no PyTorch", limit, ""
    spread = result["spread"][ratio.key]
    lower, upper = spread["lower_quartile"], spread["upper_quartile"]
    met = "" if np.isinf(goal) else ("met" if value <= goal else "NOT MET")
    digits = 4 if value < 0.01 else 2
    said = f"{value:.{digits}f} ({lower:.{digits}f} to {upper:.{digits}f})"
    return ratio.words + kind, f"`{ratio.key}`", said, limit, met


def times_table(result: dict[str, Any]) -> str:
    """Returns the median time of each step, and the peak memory of some, as tables in Markdown."""
    rows = [("process and step", "ms")]
    rows += [(step, f"{value:.1f}") for step, value in sorted(result["milliseconds"].items())]
    memory = [("step", "MiB above the imported framework")]
    memory += [(step, f"{value:.0f}") for step, value in result["mebibytes"].items()]
    return aligned(rows) + "\n\n" + aligned(memory)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def sentence(result: dict[str, Any]) -> str:
    """Returns all tables, for a terminal."""
    return table(result) + "\n\n" + times_table(result)
