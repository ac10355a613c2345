"""Exports a finished run: writes, measures and describes a model that still learns."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import pathlib
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

from anil_tf import build
from anil_tf.commands import program
from anil_tf.commands.finished_run import FinishedRun
from anil_tf.config import Export, flagfile, input_errors
from anil_tf.deploy import clients, exported, formats, manifest, measure, model_card, temperature
from anil_tf.deploy.signatures import Signatures
from anil_tf.episodes import Tasks
from anil_tf.evaluation import card
from anil_tf.meta_learner import MetaLearner


def export(config: Export) -> None:
    """Writes, measures and describes the export; its directory appears when all is done, or not at all.

    Args:
        config: the run, the format, and what the export does otherwise than the training.

    Raises:
        InputError: for what is no finished run, and for what cannot be exported.
    """
    run = FinishedRun(config.run_dir)
    output = _output(config)
    build.seed(config)
    # Without a measurement the test classes are left alone, and need not be there.
    tasks = _tasks(config, "test" if config.episodes else "validation")
    # The normalisation given is that of the export; a meta-step goes on as the run was trained.
    learner = run.learner(config, tasks, keep=("normalization",))
    with _appearing(config, output) as directory:
        info = _export(config, run, learner, tasks, directory)
    _report(config, info)


def _output(config: Export) -> pathlib.Path:
    """The directory to make, found fit before anything slow is done."""
    output = pathlib.Path(config.output_dir).expanduser().absolute()
    if output.exists() and not output.is_dir():
        raise config.error("expected a directory, received a file.", "output_dir")
    if output.is_dir() and any(output.iterdir()):
        others = _no_part_of_an_export(output)
        if others:
            more = ", ..." if len(others) > 3 else "."
            raise config.error(
                f"expected a new directory, received one with files that are no export: {', '.join(others[:3])}{more}",
                "output_dir",
            )
        if not config.overwrite:
            raise config.error(
                "expected a new directory, received one that holds an export; --overwrite replaces it.",
                "output_dir",
            )
    return output


def _no_part_of_an_export(directory: pathlib.Path) -> list[str]:
    """What else there is in a directory than the export that it holds: all of it, if it holds none."""
    entries = {path.name for path in directory.iterdir()}
    with contextlib.suppress(ValueError):
        files = exported.read_manifest(directory).get("files", {})
        entries -= {exported.MANIFEST, "model_card.md", "client.py", *files.values()}
    return sorted(entries)


def _tasks(config: Export, split: str, **changes: Any) -> Tasks:
    return build.make_tasks(config, split, **{"ways": config.ways, "augment": False} | changes)


def _validation_tasks(config: Export, learner: MetaLearner) -> Tasks:
    """Tasks to calibrate on: of --ways classes, or of all that there are, if the head takes those."""
    if learner.adapted_head.rows is not None:
        return _tasks(config, "validation")
    tasks = _tasks(config, "validation", ways=1)
    with input_errors(config, "dataset"):
        return tasks.replace(ways=min(config.ways, len(tasks.class_names)))


@contextlib.contextmanager
def _appearing(config: Export, output: pathlib.Path) -> Iterator[pathlib.Path]:
    """A new folder to write to, which becomes `output` at the end, or vanishes."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        partial = tempfile.mkdtemp(prefix=f".{output.name}.", suffix=".partial", dir=output.parent)
    except OSError as error:
        raise config.error(f"cannot be made: {error}.", "output_dir") from error
    made, old = pathlib.Path(partial) / "new", pathlib.Path(partial) / "old"
    try:
        made.mkdir()
        yield made
        if output.is_dir():
            output.rename(old)
        made.rename(output)
    finally:
        if old.is_dir() and not output.exists():
            old.rename(output)
        shutil.rmtree(partial, ignore_errors=True)


def _export(
    config: Export, run: FinishedRun, learner: MetaLearner, tasks: Tasks, directory: pathlib.Path
) -> dict[str, Any]:
    """Writes everything into `directory`; returns what export.json holds."""
    module = formats.load_format(config.format)
    sizes = {name: getattr(tasks, name) for name in ("ways", "shots", "queries", "meta_batch_size")}
    options = formats.Options(
        config.normalization,
        1.0,
        **sizes,
        optimizer=functools.partial(build.make_optimizer, config),
    )
    with input_errors(config, "format"):
        module.check(learner, options)
    fitted = temperature.Temperature()
    if config.calibration_episodes and not tasks.regression:
        fitted = _calibrate(config, learner)
    options = dataclasses.replace(options, temperature=fitted.value)
    written = module.export(learner, directory, options)
    info = manifest.describe(
        config.format, written, learner, options, directory=directory, temperature=fitted
    )
    manifest.write(directory, info)  # loading needs it
    evaluations, latencies = _measure(config, directory, info, tasks)
    info = manifest.with_results(
        info,
        protocol=_protocol(config, run, learner, tasks, evaluations),
        evaluations=evaluations,
        latencies=latencies,
        preview=manifest.preview(tasks),
    )
    manifest.write(directory, info)
    usage = written.usage or module.USAGE
    model_card.write(directory, info, usage=usage, command=_repeating(config))
    if written.usage is None:
        client = pathlib.Path(clients.__file__).with_name(f"{config.format}.py")
        shutil.copyfile(client, directory / "client.py")
    return info


def _repeating(config: Export) -> str:
    """The command that makes the export again."""
    return f"{program.command('export')} {shlex.join(flagfile.given_lines(config))}"


def _calibrate(config: Export, learner: MetaLearner) -> temperature.Temperature:
    """The temperature of the probabilities."""
    tasks = _validation_tasks(config, learner)
    fewer = f" of {tasks.ways} classes, as many as there are" if tasks.ways < config.ways else ""
    print(f"Calibrating on {config.calibration_episodes} validation episodes{fewer}.", flush=True)
    signatures = Signatures(learner, normalization=config.normalization)
    return temperature.fit(signatures, tasks, episodes=config.calibration_episodes)


def _measure(
    config: Export, directory: pathlib.Path, info: dict[str, Any], tasks: Tasks
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Accuracy and latency of each variant, as a client finds them."""
    evaluations, latencies = {}, {}
    for variant in info["variants"] if config.episodes else ():
        print(f"Measuring {variant} on {config.episodes} test episodes.", flush=True)
        load = functools.partial(exported.load, directory, variant)
        latencies[variant] = measure.latency(load, tasks)
        evaluations[variant] = measure.accuracy(load(), tasks, episodes=config.episodes)
    return evaluations, latencies


def _protocol(
    config: Export,
    run: FinishedRun,
    learner: MetaLearner,
    tasks: Tasks,
    evaluations: dict[str, Any],
) -> dict[str, Any]:
    """The protocol of the measurement, and what the training did otherwise."""
    evaluation = next(iter(evaluations.values()), None)
    described = run.protocol(
        learner.replace(normalization=config.normalization),
        tasks,
        episodes=config.episodes,
        seconds=evaluation and evaluation.seconds,
    )
    return described | {"training_normalization": run.facts["protocol"]["normalization"]}


def _report(config: Export, info: dict[str, Any]) -> None:
    """Says what was made, how good it is, and what to do with it."""
    output = os.path.relpath(config.output_dir)
    for variant, path in info["variants"].items():
        size = f"{info['size_bytes'][variant] / 2**20:.2f} MiB"
        line = f"{os.path.join(output, path)} ({variant}, {size})"
        found = info["measured"].get(variant)
        if found:
            line += f": {card.score(found)}"
            if found["calibration_error"] is not None:
                line += f", calibration error {100 * found['calibration_error']:.2f} %"
            times = found["latency_ms"]
            medians = [
                f"{name} {times[name]['warm']['median']:.3g} ms"
                for name in ("adapt", "predict", "adapt_and_predict")
                if name in times
            ]
            line += f"; {', '.join(medians)}"
        print(line)
    print(f"How to use it: {os.path.join(output, 'model_card.md')}")
    if os.path.isfile(os.path.join(output, "client.py")):
        where = shlex.quote(output)
        print(f"Next: python {where}/client.py  (without arguments it says what it takes)")
        if {"adapt", "predict"} <= set(info["signatures"]):
            print(f"Or:   {program.command('demo')} --export_dir={where}")
