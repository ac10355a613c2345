"""Evaluates a finished run: python bin/evaluate.py --run_dir=DIR --split=test --episodes=1000

Ways, shots, queries, inner steps and step size, inner_l2, normalization, data set and batch are
those of the run unless they are given here; the tasks are drawn with --seed, which is 0 here
whatever the training's was. Prints a table with the whole protocol and, as the last line, one JSON
object. --compare=DIR2 adds the paired difference with another run on the same episodes. The result
is added to DIR/evaluations.jsonl and to DIR/card.md; nothing else is changed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from launch import flags, launch

FLAGS, InputError, blamed_on = flags.FLAGS, flags.InputError, flags.blamed_on

GROUPS = ("evaluation", "run", "data", "learner", "outer_loop")
EVALUATION_SEED = 0
_OF_A_FINISHED_RUN = ("model.keras", "card.json")

# What adaptation at test time may do otherwise than in training; the rest is in the weights. (--head=nil, which has no
# weights, is taken for any run.)
_REPLACEABLE = (
    "inner_steps",
    "inner_step_size",
    "inner_l2",
    "inner_solver",
    "inner_tolerance",
    "normalization",
)
_NO_INNER_LOOP = {
    "head_initialization": "nil",
    "differentiation": "explicit",
    "truncated_to": None,
    "frozen_in_adaptation": "none",
    "learned_inner_step_size": "none",
    "inner_steps": 0,
}
_PART_OF_THE_MODEL = (
    "body",
    "head",
    "filters",
    "pooling",
    "pretrained",
    "adapted_layers",
    "frozen_in_adaptation",
    "learned_inner_step_size",
    "mixed_precision",
    "differentiation",
    "truncated_to",
    "first_order",
)
# Facts of the training that stand in the protocol beside the test-time values.
_OF_THE_TRAINING = (
    "ways",
    "shots",
    "queries",
    "inner_steps",
    "meta_batch_size",
    "augment",
    "epochs",
    "commit",
)
# Of these two evaluations differ always, whatever their protocols.
_NO_DIFFERENCE = ("evaluation_seconds",)


def main() -> int:
    """Evaluates, prints, records."""
    _check_run("run_dir")
    if FLAGS.compare is not None:
        _check_run("compare")
    _refuse_changes_of_the_model()
    flags.defaults_from_run(FLAGS.run_dir)
    _refuse_another_class_split("run_dir")
    if FLAGS.compare is not None:
        _refuse_another_class_split("compare")

    import assemble

    from anil_tf.evaluation import card, compare, evaluate

    assemble.seed()
    tasks = _tasks()
    learner = _learner("run_dir", tasks)
    options = {"episodes": FLAGS.episodes, "jit_compile": FLAGS.jit_compile == "on"}
    evaluation = evaluate(learner, tasks, **options)
    result = _result(evaluation, _protocol("run_dir", evaluation, learner, tasks))
    record = dict(result)
    if FLAGS.compare is not None:
        learner = _learner("compare", tasks)
        other = evaluate(learner, tasks, **options)
        result["comparison"] = _comparison(
            compare(evaluation, other),
            other,
            result["protocol"],
            _protocol("compare", other, learner, tasks),
        )
    _print_table(result)
    print(card.dumps(result), flush=True)
    _record(record)
    return flags.EXIT_DONE


def _check_run(flag: str) -> None:
    """Refuses what is no finished run, before anything slow is done."""
    directory = FLAGS[flag].value
    if not directory or not os.path.isfile(os.path.join(directory, "flags.txt")):
        raise InputError(
            f"--{flag}={directory or ''}: expected the directory of a run, which has a flags.txt; "
            "bin/train.py makes one."
        )
    unfinished = ""
    if not all(os.path.isfile(os.path.join(directory, name)) for name in _OF_A_FINISHED_RUN):
        unfinished = f"one without {' and '.join(_OF_A_FINISHED_RUN)}"
    else:
        # A finished run that is being extended still has the model of its first end.
        reached, wanted = _epochs_of_the_model(directory), _settings_of(directory)["epochs"]
        if reached is not None and wanted != f"--epochs={reached}":
            unfinished = f"one that is being extended from --epochs={reached} to {wanted}"
    if unfinished:
        raise InputError(
            f"--{flag}={directory}: expected a finished run, received {unfinished}; python "
            f"bin/train.py --flagfile={directory}/flags.txt --run_dir={directory} goes on with it."
        )


def _epochs_of_the_model(directory: str) -> int | None:
    from anil_tf.evaluation import card

    return card.read(directory)["training"].get("epochs")


def _settings_of(directory: str) -> dict[str, str]:
    """The settings of a run, those that its version did not know at their defaults."""
    path = os.path.join(directory, "flags.txt")
    return {**flags.defaults(GROUPS), **flags.read_settings(path)}


def _refuse_changes_of_the_model() -> None:
    """Refuses flags that would need another training."""
    for name in ("inner_step_size", "inner_steps"):
        if FLAGS[name].value == "auto":
            raise InputError(
                f"--{name}=auto: measured where training begins, received for a finished run; "
                f"expected a number, or no --{name}, which takes that of the run."
            )
    trained = _settings_of(FLAGS.run_dir)
    for name in _PART_OF_THE_MODEL:
        received = FLAGS[name].serialize()
        if received == "--head=nil":
            continue
        if FLAGS[name].present and received != trained.get(name):
            raise InputError(
                f"{received}: part of the trained model, which has another value; expected none, "
                f"or one of the flags that can be changed: --ways, --shots, --queries, "
                f"{', '.join('--' + name for name in _REPLACEABLE)}."
            )


def _refuse_another_class_split(flag: str) -> None:
    """Refuses to split a run's own data otherwise: training classes would be among the test's."""
    directory = FLAGS[flag].value
    trained, now = _settings_of(directory), flags.settings(GROUPS)
    if now["dataset"] != trained["dataset"] or now["split_seed"] == trained["split_seed"]:
        return
    if now["dataset"] == "--dataset=image_folder" and not _same_folder(now, trained):
        return
    raise InputError(
        f"{now['split_seed']}: the classes of the run in {directory} were split with "
        f"{trained['split_seed']}, so that some of these would be classes it was trained on; "
        f"expected {trained['split_seed']}, or another --dataset."
    )


def _same_folder(*settings: Mapping[str, str]) -> bool:
    folders = {os.path.realpath(lines["data_dir"].partition("=")[2]) for lines in settings}
    return len(folders) == 1


def _tasks() -> Any:
    """The tasks to evaluate on: the run's data, with what the command line changes."""
    import assemble

    seed = FLAGS.seed if FLAGS["seed"].present else EVALUATION_SEED
    return assemble.tasks(FLAGS.split, seed=seed, ways=FLAGS.ways, augment=False)


def _learner(flag: str, tasks: Any) -> Any:
    """The learner of a run, as the command line changes it, for these tasks."""
    import keras

    import anil_tf.meta_learner  # noqa: F401  (Keras finds what is registered)

    directory = FLAGS[flag].value
    learner = keras.saving.load_model(os.path.join(directory, "model.keras"), compile=False)
    expected = tuple(learner.body.input_shape[1:])
    if expected != tuple(tasks.image_shape):
        raise InputError(
            f"--{flag}={directory}: this run takes images of shape {expected}, but those of "
            f"--dataset={tasks.name} have {tuple(tasks.image_shape)}."
        )
    if FLAGS["inner_step_size"].present and learner.learned_inner_step_size != "none":
        raise InputError(
            f"--inner_step_size={FLAGS.inner_step_size}: the run in {directory} has learned its "
            "inner step size; expected no value."
        )
    if FLAGS["inner_l2"].present and learner.head_initialization == "ridge":
        raise InputError(
            f"--inner_l2={FLAGS.inner_l2:g}: the run in {directory} has learned the strength of its "
            "ridge regression; expected no value."
        )
    rows = learner.head.output_shape[-1]
    changes = {name: FLAGS[name].value for name in _REPLACEABLE if FLAGS[name].present}
    if FLAGS["head"].present and FLAGS.head == "nil":  # else it is the head of --run_dir's training
        if FLAGS["inner_steps"].present and FLAGS.inner_steps:
            raise InputError(
                f"--inner_steps={FLAGS.inner_steps}: --head=nil has no inner loop; expected no value."
            )
        changes |= _NO_INNER_LOOP
    elif learner.head_initialization == "free" and rows != tasks.ways:
        raise InputError(
            f"--ways={tasks.ways}: the run in {directory} has a free head, which has one learned "
            f"row for each of {rows} ways; expected --ways={rows}, --head=nil, or a run with another "
            "--head."
        )
    with blamed_on("head", *_REPLACEABLE):
        return learner.replace(ways=tasks.ways, **changes)


def _protocol(flag: str, evaluation: Any, learner: Any, tasks: Any) -> dict[str, Any]:
    """The protocol of a run's evaluation; what the training did otherwise is named training_..."""
    from anil_tf.evaluation import card, protocol

    facts = card.read(FLAGS[flag].value)
    # The protocol of the card is the validation's; the facts of the training are its own.
    trained = {**facts["protocol"], **facts["training"]}
    described = protocol.describe(
        learner,
        tasks,
        episodes=evaluation.episodes,
        training_seed=trained["training_seed"],
        checkpoint_rule=trained["checkpoint_rule"],
        weight_averaging=trained["weight_averaging"],
        training_seconds=trained["training_seconds"],
        evaluation_seconds=evaluation.seconds,
    )
    return described | {f"training_{name}": trained.get(name) for name in _OF_THE_TRAINING}


def _result(evaluation: Any, protocol: dict[str, Any]) -> dict[str, Any]:
    """The numbers with their protocol, as they are printed and recorded."""
    return {
        evaluation.metric: evaluation.value,
        "ci95": evaluation.ci95,
        "loss": evaluation.loss,
        "ece": evaluation.ece,
        "episodes": evaluation.episodes,
        "seconds": evaluation.seconds,
        "protocol": protocol,
    }


def _record(record: dict[str, Any]) -> None:
    """Adds the result to the run; the numbers are out, so that failing here is no failure."""
    from anil_tf.evaluation import card

    try:
        card.add_evaluation(FLAGS.run_dir, record)
    except OSError as error:
        print(f"evaluate.py: warning: this evaluation is not recorded: {error}", file=sys.stderr)


def _comparison(
    comparison: Any, other: Any, here: dict[str, Any], there: dict[str, Any]
) -> dict[str, Any]:
    differing = [name for name in here if here[name] != there.get(name)]
    return {
        "run_dir": FLAGS.compare,
        other.metric: other.value,
        "difference": comparison.difference,
        "ci95": comparison.ci95,
        "episodes": comparison.episodes,
        "differing": [name for name in differing if name not in _NO_DIFFERENCE],
        "protocol": there,
    }


def _print_table(result: dict[str, Any]) -> None:
    from anil_tf.evaluation import protocol

    lines = [*_result_rows(result), ("", ""), *protocol.rows(result["protocol"])]
    width = max(len(name) for name, _ in lines)
    print("\n".join(f"{name:<{width}}  {value}".rstrip() for name, value in lines))


def _result_rows(result: dict[str, Any]) -> Iterator[tuple[str, str]]:
    from anil_tf.evaluation import calibration, card

    regression = "mse" in result
    yield "result" if regression else "accuracy", card.score(result) + " (95 % interval)"
    if not regression:
        yield "loss", f"{result['loss']:.4f} nats"
        yield (
            "calibration error",
            f"{100 * result['ece']:.2f} % (expected, {calibration.BINS} bins)",
        )
    if "comparison" in result:
        other = result["comparison"]
        scale, unit = (1.0, "") if regression else (100.0, " percentage points")
        excludes = abs(other["difference"]) > other["ci95"]
        yield other["run_dir"], card.score({key: other[key] for key in other if key != "ci95"})
        yield (
            "paired difference",
            f"{scale * other['difference']:+.4g} ± {scale * other['ci95']:.2g}{unit}; "
            f"the interval {'leaves out' if excludes else 'holds'} 0",
        )
        names = ", ".join(name.replace("_", " ") for name in other["differing"])
        yield "protocols differ in", names or "nothing"


if __name__ == "__main__":
    launch(main, title=__doc__, groups=GROUPS)
