"""Exports a finished run: python bin/export.py --run_dir=DIR --output_dir=OUT --format=saved_model

The export still learns: it takes a few examples of new classes, and then names images. OUT holds the
model, export.json (its facts), model_card.md (how to use it, its accuracy and latency, measured on
the exported files over --episodes test episodes, its limits) and client.py, a short program that
needs the runtime of the format and NumPy. Ways, shots, inner steps and so on are those of the run
unless they are given here; batch normalisation is `support` whatever the run was trained with. The
meta-step in a stablehlo export is the run's, with the outer optimizer of its flags.
OUT appears when all is done, or not at all.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import finished_run
from launch import flags, launch

FLAGS, InputError, blamed_on = flags.FLAGS, flags.InputError, flags.blamed_on

GROUPS = ("export", "data", "learner", "outer_loop")
EVALUATION_SEED = 0


def main() -> int:
    """Writes, measures and describes the export."""
    finished_run.check("run_dir")
    finished_run.refuse_changes_of_the_model()
    normalization = _normalization()
    output = _output()
    flags.defaults_from_run(FLAGS.run_dir)
    finished_run.refuse_another_class_split("run_dir")

    import assemble

    assemble.seed()
    # Without a measurement the test classes are left alone, and need not be there.
    tasks = _tasks("test" if FLAGS.episodes else "validation")
    # --normalization is that of the export; a meta-step goes on as the run was trained.
    learner = finished_run.learner("run_dir", tasks, keeps=("normalization",))
    with _appearing(output) as directory:
        info = _export(learner, tasks, normalization, directory)
    _say(info)
    return flags.EXIT_DONE


def _normalization() -> str:
    """The normalisation of the export, `episode` only if it is forced."""
    if FLAGS.normalization == "episode" and not FLAGS.force:
        raise InputError(
            "--normalization=episode: the answer for an image would depend on the other images asked "
            "with it, and on how many they are; expected support (statistics of the examples) or "
            "running (moving averages), or --force as well."
        )
    return FLAGS.normalization


def _output() -> pathlib.Path:
    """The directory to make, found fit before anything slow is done."""
    output = pathlib.Path(FLAGS.output_dir).expanduser().absolute()
    flag = f"--output_dir={FLAGS.output_dir}"
    if output.exists() and not output.is_dir():
        raise InputError(f"{flag}: expected a directory, received a file.")
    if output.is_dir() and any(output.iterdir()):
        others = _no_part_of_an_export(output)
        if others:
            raise InputError(
                f"{flag}: expected a new directory, received one with files that are no export: "
                f"{', '.join(others[:3])}{', ...' if len(others) > 3 else '.'}"
            )
        if not FLAGS.overwrite:
            raise InputError(
                f"{flag}: expected a new directory, received one that holds an export; --overwrite "
                "replaces it."
            )
    return output


def _no_part_of_an_export(directory: pathlib.Path) -> list[str]:
    """What else there is in a directory than the export that it holds: all of it, if it holds none."""
    from anil_tf.deploy.exported import MANIFEST, read_manifest

    entries = {path.name for path in directory.iterdir()}
    with contextlib.suppress(ValueError):
        files = read_manifest(directory).get("files", {})
        entries -= {MANIFEST, "model_card.md", "client.py", *files.values()}
    return sorted(entries)


def _tasks(split: str, ways: int | None = None) -> Any:
    """The tasks of a split: the run's data, with what the command line changes."""
    import assemble

    seed = FLAGS.seed if FLAGS["seed"].present else EVALUATION_SEED
    return assemble.tasks(
        split, seed=seed, ways=FLAGS.ways if ways is None else ways, augment=False
    )


def _validation_tasks(learner: Any) -> Any:
    """Tasks to calibrate on: of --ways classes, or of all that there are, if the head takes those."""
    if learner.head_initialization == "free":
        return _tasks("validation")
    tasks = _tasks("validation", ways=1)
    with blamed_on("dataset"):
        return tasks.replace(ways=min(FLAGS.ways, len(tasks.class_names)))


@contextlib.contextmanager
def _appearing(output: pathlib.Path) -> Iterator[pathlib.Path]:
    """A new folder to write to, which becomes `output` at the end, or vanishes."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        partial = tempfile.mkdtemp(prefix=f".{output.name}.", suffix=".partial", dir=output.parent)
    except OSError as error:
        raise InputError(f"--output_dir={FLAGS.output_dir}: cannot be made: {error}.") from error
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


def _export(learner: Any, tasks: Any, normalization: str, directory: pathlib.Path) -> Any:
    """Writes everything into `directory`; returns what export.json holds."""
    import assemble

    from anil_tf.deploy import clients, formats, manifest, model_card, temperature

    module = formats.load_format(FLAGS.format)
    sizes = {name: getattr(tasks, name) for name in ("ways", "shots", "queries", "meta_batch_size")}
    options = formats.Options(normalization, 1.0, **sizes, optimizer=assemble.optimizer)
    with blamed_on("format"):
        module.check(learner, options)
    fitted = temperature.Temperature()
    if FLAGS.calibration_episodes and not tasks.regression:
        fitted = _calibrate(learner, normalization)
    options = dataclasses.replace(options, temperature=fitted.value)
    written = module.export(learner, directory, options)
    info = manifest.describe(
        FLAGS.format, written, learner, options, directory=directory, temperature=fitted
    )
    manifest.write(directory, info)  # loading needs it
    evaluations, latencies = _measure(directory, info, tasks)
    info = manifest.with_results(
        info,
        protocol=_protocol(learner, tasks, normalization, evaluations),
        evaluations=evaluations,
        latencies=latencies,
        preview=manifest.preview(tasks),
    )
    manifest.write(directory, info)
    command = shlex.join(["python", "bin/export.py", *sys.argv[1:]])
    model_card.write(directory, info, usage=written.usage or module.USAGE, command=command)
    if written.usage is None:
        client = pathlib.Path(clients.__file__).with_name(f"{FLAGS.format}.py")
        shutil.copyfile(client, directory / "client.py")
    return info


def _calibrate(learner: Any, normalization: str) -> Any:
    """The temperature of the probabilities."""
    from anil_tf.deploy import temperature
    from anil_tf.deploy.signatures import Signatures

    tasks = _validation_tasks(learner)
    fewer = f" of {tasks.ways} classes, as many as there are" if tasks.ways < FLAGS.ways else ""
    print(f"Calibrating on {FLAGS.calibration_episodes} validation episodes{fewer}.", flush=True)
    signatures = Signatures(learner, normalization=normalization)
    return temperature.fit(signatures, tasks, episodes=FLAGS.calibration_episodes)


def _measure(
    directory: pathlib.Path, info: dict[str, Any], tasks: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Accuracy and latency of each variant, as a client finds them."""
    from anil_tf.deploy import exported, measure

    evaluations, latencies = {}, {}
    for variant in info["variants"] if FLAGS.episodes else ():
        print(f"Measuring {variant} on {FLAGS.episodes} test episodes.", flush=True)
        latencies[variant] = measure.latency(lambda v=variant: exported.load(directory, v), tasks)
        model = exported.load(directory, variant)
        evaluations[variant] = measure.accuracy(model, tasks, episodes=FLAGS.episodes)
    return evaluations, latencies


def _protocol(
    learner: Any, tasks: Any, normalization: str, evaluations: dict[str, Any]
) -> dict[str, Any]:
    """The protocol of the measurement, and what the training did otherwise."""
    from anil_tf.evaluation import card

    evaluation = next(iter(evaluations.values()), None)
    described = finished_run.protocol(
        "run_dir",
        learner.replace(normalization=normalization),
        tasks,
        episodes=FLAGS.episodes,
        seconds=evaluation and evaluation.seconds,
    )
    trained = card.read(FLAGS.run_dir)["protocol"]["normalization"]
    return described | {"training_normalization": trained}


def _say(info: dict[str, Any]) -> None:
    """What was made, how good it is, and what to do with it."""
    from anil_tf.evaluation import card

    output = os.path.relpath(FLAGS.output_dir)
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
            print(f"Or:   python bin/demo.py --export_dir={where}")


if __name__ == "__main__":
    launch(main, title=__doc__, groups=GROUPS, required=("run_dir", "output_dir"))
