"""How long a deployed model takes to learn a task and to answer: Keras, SavedModel, LiteRT and PyTorch, on one core.

Conv4-64 on 5-way 5-shot tasks of 32x32x3, N = 10 inner steps of the head; one query image. Every runtime works in a
process of its own, bound to one core, one at a time. Warm times are taken in turns, one of each in a round, and a ratio
is the median over rounds of the ratio within a round. Cold ones are the first calls of a fresh process that has
imported its runtime, load included where it says so.

All start from the same weights, and before anything is timed their answers are compared: those of all runtimes under
`running` (moving statistics), where all compute the same; under `support` those of the library alone, since PyTorch's
batch normalisation then sees support and query together, as in learn2learn's examples.
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
from benchmarks import meta_batch
from benchmarks.deploy_steps import PROBABILITY
from benchmarks.step_cost import aligned, with_progress
from benchmarks.worker import Worker

_HERE = Path(__file__).resolve().parent
# Of the ratio of this name under `support`; the other ratios are shown, and not judged.
GOAL, JUDGED = 0.5, "exact_over_pytorch"
CLASSES = 5
NORMALIZATIONS = ("support", "running")
WARM = ("adapt", "predict", "adapt_and_predict")
# Calls of a fresh process, in order; each list is a process of its own.
COLD = (("load", "adapt", "predict"), ("load", "adapt_and_predict"))
EXACT = ("keras", "saved_model", "litert float32")
OURS = (*EXACT, "litert float16", "litert int8")
PYTORCH = ("pytorch", "pytorch channels_last")
# Whose fastest over whose fastest, in adapt_and_predict.
RATIOS: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    JUDGED: (
        "our fastest in float32 / PyTorch as learn2learn's examples write it",
        EXACT,
        PYTORCH[:1],
    ),
    "exact_over_fastest_pytorch": (
        "our fastest in float32 / PyTorch's fastest layout",
        EXACT,
        PYTORCH,
    ),
    "over_pytorch": ("our fastest, weights rounded or not / PyTorch as above", OURS, PYTORCH[:1]),
}
# What a probability may differ by from that of Keras, here and where weights are rounded.
TOLERANCE, ROUNDED = 1e-3, {"litert float16": 1e-2, "litert int8": 0.1}


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What is measured.

    Attributes:
        side: height and width of the images, which have three channels.
        filters: of the network.
        inner_steps: N.
        inner_step_size: alpha; a larger one diverges on these untrained features.
    """

    side: int = 32
    filters: int = 64
    inner_steps: int = 10
    inner_step_size: float = 0.01


def measure(
    *,
    pytorch: str | None,
    rounds: int = 50,
    cold_starts: int = 5,
    sizes: Sizes | None = None,
) -> dict[str, Any]:
    """Times every runtime under both normalisations.

    Args:
        pytorch: a Python interpreter that has benchmarks/requirements.txt; None leaves PyTorch's rows out.
        rounds: how often each warm call is timed.
        cold_starts: how many fresh processes each cold call is timed in.
        sizes: of task and network, where they are to be others than the usual ones.

    Returns:
        `milliseconds`: by normalisation, runtime, "warm" or "cold", and call, median and quartiles; `ratios`: by
        normalisation those of `RATIOS` in adapt_and_predict, None without PyTorch; `differences`: by normalisation, the
        largest of any probability of each comparable runtime from Keras'; `hardware`, `versions`, `commit`.

    Raises:
        RuntimeError: where a runtime answers otherwise than Keras.
    """
    sizes = sizes or Sizes()
    result: dict[str, Any] = {"milliseconds": {}, "ratios": {}, "differences": {}}
    with tempfile.TemporaryDirectory() as folder:
        batch = Path(folder, "batch.npz")
        meta_batch.write(batch, tasks=1, queries=1, side=sizes.side, filters=sizes.filters)
        for normalization in NORMALIZATIONS:
            models = write_models(batch, Path(folder, normalization), normalization, sizes)
            commands = _commands(models, batch, normalization, pytorch, sizes)
            result["differences"][normalization] = _differences(commands, normalization)
            cold = _cold(commands, cold_starts)
            warm, versions = _warm(commands, rounds)
            result["milliseconds"][normalization] = _summary(warm, cold)
            result["ratios"][normalization] = _ratios(warm)
            result["versions"] = versions
    network = f"Conv4-{sizes.filters}, {sizes.side}x{sizes.side}x3"
    setting = f"{network}, 5-way 5-shot, N = {sizes.inner_steps}, 1 query image, 1 core"
    about = {"hardware": protocol.hardware(), "commit": protocol.commit(), "setting": setting}
    return result | {"rounds": rounds, "cold_starts": cold_starts} | about


def write_models(batch: Path, folder: Path, normalization: str, sizes: Sizes) -> dict[str, Path]:
    """Writes the learner that the batch has weights for, and its exports; returns their paths by runtime."""
    from anil_tf.deploy.formats import Options, load_format

    with np.load(batch) as file:
        learner = learner_of(dict(file), sizes)
    options = Options(normalization=normalization, temperature=1.0, ways=5, shots=5, queries=1)
    paths = {"keras": folder / "model.keras"}
    for name in ("saved_model", "litert"):
        directory = folder / name
        directory.mkdir(parents=True)
        written = load_format(name).export(learner, directory, options)
        for variant, file in written.variants.items():
            paths[name if name == "saved_model" else f"{name} {variant}"] = directory / file
    learner.save(paths["keras"])
    return paths


def learner_of(arrays: Mapping[str, np.ndarray], sizes: Sizes) -> Any:
    """The learner that has the weights of the arrays."""
    import anil_tf
    from benchmarks.tensorflow_steps import in_keras_order

    shape = arrays["support_images"].shape[2:]
    network = anil_tf.models.conv4(input_shape=shape, classes=5, filters=sizes.filters)
    network.set_weights(in_keras_order(arrays))
    body, head = anil_tf.models.split(network, adapted_layers=1)
    return anil_tf.MetaLearner(
        body, head, inner_steps=sizes.inner_steps, inner_step_size=sizes.inner_step_size
    )


def _commands(
    models: Mapping[str, Path],
    batch: Path,
    normalization: str,
    pytorch: str | None,
    sizes: Sizes,
) -> dict[str, tuple]:
    """What starts the process of each runtime."""
    common = (f"--batch={batch}", f"--normalization={normalization}")
    commands: dict[str, tuple] = {
        name: (
            sys.executable,
            _HERE / "deploy_steps.py",
            f"--runtime={name.partition(' ')[0]}",
            f"--model={models[name]}",
            *common,
        )
        for name in OURS
    }
    if pytorch is not None:
        steps = (
            f"--inner_steps={sizes.inner_steps}",
            f"--inner_step_size={sizes.inner_step_size}",
        )
        for name, layout in zip(PYTORCH, ((), ("--channels_last",)), strict=True):
            commands[name] = (pytorch, _HERE / "pytorch_adapt.py", *common, *steps, *layout)
    return commands


def _differences(commands: Mapping[str, tuple], normalization: str) -> dict[str, float]:
    """The largest difference of a probability of each runtime that computes the same as Keras."""
    compared = [n for n in commands if n not in PYTORCH or normalization == "running"]
    answers = {name: _answer(commands[name]) for name in compared}
    found = {
        name: float(np.abs(answer - answers["keras"]).max()) for name, answer in answers.items()
    }
    for name, difference in found.items():
        tolerance = ROUNDED.get(name, TOLERANCE)
        if not difference <= tolerance:  # true for NaN, too
            raise RuntimeError(
                f"{name} answers otherwise than Keras under {normalization}: a largest difference of {difference:.1e}, "
                f"where {tolerance:g} at most was expected; times of other answers say nothing."
            )
    return found


def _answer(command: tuple) -> np.ndarray:
    """The probabilities of all classes, from a process of its own."""
    with Worker(*command) as worker:
        worker.loss("load")
        return np.array([worker.loss(f"{PROBABILITY}{c}") for c in range(CLASSES)])


Times = dict[str, dict[str, np.ndarray]]  # milliseconds by runtime and call


def _cold(commands: Mapping[str, tuple], starts: int) -> Times:
    """First calls in fresh processes; `load` and `load + adapt_and_predict` among them."""
    times: dict[str, dict[str, list[float]]] = {name: {} for name in commands}
    turns = list(itertools.product(range(starts), COLD, commands))
    for _, calls, name in with_progress(turns, "cold starts"):
        with Worker(*commands[name]) as worker:
            seconds = {call: worker.time(call, repeats=1)[0] for call in calls}
        if "adapt_and_predict" in seconds:
            seconds["load + adapt_and_predict"] = seconds.pop("load") + seconds["adapt_and_predict"]
        for call, value in seconds.items():
            times[name].setdefault(call, []).append(1e3 * value)
    return {name: {call: np.array(t) for call, t in calls.items()} for name, calls in times.items()}


def _warm(commands: Mapping[str, tuple], rounds: int) -> tuple[Times, dict[str, Any]]:
    """Later calls, in turns; and the versions."""
    with contextlib.ExitStack() as stack:
        workers = {name: stack.enter_context(Worker(*c)) for name, c in commands.items()}
        versions = {name: worker.describe() for name, worker in workers.items()}
        for worker in workers.values():
            for call in ("load", *WARM, *WARM):
                worker.time(call, repeats=1)
        times: dict[str, dict[str, list[float]]] = {name: {c: [] for c in WARM} for name in workers}
        for _ in with_progress(range(rounds), "rounds"):
            for call, (name, worker) in itertools.product(WARM, workers.items()):
                times[name][call] += [1e3 * value for value in worker.time(call, repeats=1)]
    arrays = {n: {call: np.array(t) for call, t in calls.items()} for n, calls in times.items()}
    return arrays, versions


def _summary(warm: Times, cold: Times) -> dict[str, Any]:
    return {
        name: {
            "warm": {call: _quartiles(values) for call, values in warm[name].items()},
            "cold": {call: _quartiles(values) for call, values in cold[name].items()},
        }
        for name in warm
    }


def _quartiles(values: np.ndarray) -> dict[str, float]:
    lower, median, upper = (float(value) for value in np.percentile(values, [25, 50, 75]))
    return {"median": median, "lower_quartile": lower, "upper_quartile": upper}


def _ratios(warm: Times) -> dict[str, Any] | None:
    """The fastest of some over the fastest of others, in adapt_and_predict, round by round."""
    if not any(name in warm for name in PYTORCH):
        return None

    def fastest(names: Sequence[str]) -> str:
        return min(names, key=lambda name: np.median(warm[name]["adapt_and_predict"]))

    ratios = {}
    for key, (_, ours, theirs) in RATIOS.items():
        compared = [fastest(ours), fastest(theirs)]
        numerator, denominator = (warm[name]["adapt_and_predict"] for name in compared)
        ratios[key] = _quartiles(numerator / denominator) | {"compared": compared}
    return ratios


# ---- Saying what was found -------------------------------------------------------------------------------------------


def table(result: dict[str, Any]) -> str:
    """Returns what `measure` found as tables in Markdown.

    Args:
        result: as `measure` returns it, or as it was read from a file.
    """
    return "\n\n".join(_table_of(result, normalization) for normalization in NORMALIZATIONS)


def _table_of(result: dict[str, Any], normalization: str) -> str:
    cold = ("load", "adapt", "predict", "load + adapt_and_predict")
    header = [f"{normalization}: ms (quartiles)"]
    header += [name.replace("_", " ") for name in WARM] + [
        f"cold {name.replace('_', ' ')}" for name in cold
    ]
    rows = [header]
    for runtime, times in result["milliseconds"][normalization].items():
        warm = [_spread(times["warm"][call]) for call in WARM]
        rows.append([runtime, *warm, *(f"{times['cold'][call]['median']:.0f}" for call in cold)])
    return aligned(rows)


def _spread(values: Mapping[str, float]) -> str:
    return (
        f"{values['median']:.2f} ({values['lower_quartile']:.2f} to {values['upper_quartile']:.2f})"
    )


def ratios_table(result: dict[str, Any]) -> str:
    """Returns the ratios that `measure` found as a table in Markdown; a line where there was no PyTorch.

    Args:
        result: as `measure` returns it, or as it was read from a file.
    """
    rows = [["adapt and predict", "normalisation", "compared", "median (quartiles)", "at most", ""]]
    for normalization, ratios in result["ratios"].items():
        for key, ratio in (ratios or {}).items():
            goal = ["", ""]
            if (normalization, key) == ("support", JUDGED):
                goal = [f"{GOAL:g}", "met" if ratio["median"] <= GOAL else "NOT MET"]
            pair = " / ".join(ratio["compared"])
            rows.append([RATIOS[key][0], normalization, pair, _spread(ratio), *goal])
    return aligned(rows) if len(rows) > 1 else "Not compared: no PyTorch."


def sentence(result: dict[str, Any]) -> str:
    """Returns tables, ratios and agreement, for a terminal."""
    lines = [f"{result['setting']}; medians of {result['rounds']} calls.", "", table(result), ""]
    lines += [ratios_table(result), ""]
    for normalization, differences in result["differences"].items():
        said = ", ".join(f"{name} {value:.1e}" for name, value in differences.items())
        lines.append(f"{normalization}: largest difference of a probability from Keras': {said}.")
    return "\n".join(lines)
