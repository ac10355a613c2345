"""A finished run, for the binaries that start from one: whether it is one, its learner, its protocol.

Each function takes the name of the flag that holds the run's directory, so that an error names it.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import Any

from launch import flags

FLAGS, InputError, blamed_on = flags.FLAGS, flags.InputError, flags.blamed_on

# The groups of flags whose lines are in a run's flags.txt.
_GROUPS = ("data", "learner", "outer_loop")
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


def check(flag: str) -> None:
    """Refuses what is no finished run, before anything slow is done.

    Args:
      flag: the flag that holds the directory.

    Raises:
      InputError: where that is none that bin/train.py made, or its training has not ended.
    """
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
    return {**flags.defaults(_GROUPS), **flags.read_settings(path)}


def refuse_changes_of_the_model() -> None:
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


def refuse_another_class_split(flag: str) -> None:
    """Refuses to split a run's own data otherwise: training classes would be among the test's."""
    directory = FLAGS[flag].value
    trained, now = _settings_of(directory), flags.settings(_GROUPS)
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


def learner(flag: str, tasks: Any, *, keeps: Collection[str] = ()) -> Any:
    """The learner of a run, as the command line changes it, for these tasks.

    Args:
      flag: the flag that holds the run's directory.
      tasks: `Tasks` that the learner is to be used on; they give its ways.
      keeps: settings that stay the run's, whatever the command line says.

    Returns:
      A `MetaLearner`, not compiled.

    Raises:
      InputError: for tasks that it cannot take, and for settings that this run cannot have.
    """
    import keras

    import anil_tf.meta_learner  # noqa: F401  (Keras finds what is registered)

    directory = FLAGS[flag].value
    loaded = keras.saving.load_model(os.path.join(directory, "model.keras"), compile=False)
    expected = tuple(loaded.body.input_shape[1:])
    if expected != tuple(tasks.image_shape):
        raise InputError(
            f"--{flag}={directory}: this run takes images of shape {expected}, but those of "
            f"--dataset={tasks.name} have {tuple(tasks.image_shape)}."
        )
    if FLAGS["inner_step_size"].present and loaded.learned_inner_step_size != "none":
        raise InputError(
            f"--inner_step_size={FLAGS.inner_step_size}: the run in {directory} has learned its "
            "inner step size; expected no value."
        )
    if FLAGS["inner_l2"].present and loaded.head_initialization == "ridge":
        raise InputError(
            f"--inner_l2={FLAGS.inner_l2:g}: the run in {directory} has learned the strength of its "
            "ridge regression; expected no value."
        )
    rows = loaded.head.output_shape[-1]
    replaced = [name for name in _REPLACEABLE if FLAGS[name].present and name not in keeps]
    changes = {name: FLAGS[name].value for name in replaced}
    if FLAGS["head"].present and FLAGS.head == "nil":  # else it is the head of --run_dir's training
        if FLAGS["inner_steps"].present and FLAGS.inner_steps:
            raise InputError(
                f"--inner_steps={FLAGS.inner_steps}: --head=nil has no inner loop; expected no value."
            )
        changes |= _NO_INNER_LOOP
    elif loaded.head_initialization == "free" and rows != tasks.ways:
        raise InputError(
            f"--ways={tasks.ways}: the run in {directory} has a free head, which has one learned "
            f"row for each of {rows} ways; expected --ways={rows}, --head=nil, or a run with another "
            "--head."
        )
    with blamed_on("head", *_REPLACEABLE):
        return loaded.replace(ways=tasks.ways, **changes)


def protocol(
    flag: str, learner: Any, tasks: Any, *, episodes: int, seconds: float | None
) -> dict[str, Any]:
    """The protocol of a run's evaluation.

    Args:
      flag: the flag that holds the run's directory.
      learner: the `MetaLearner` that is evaluated.
      tasks: the `Tasks` that it is evaluated on.
      episodes: how many of them.
      seconds: that this took; None where nothing was evaluated.

    Returns:
      What `evaluation.protocol.describe` returns; facts of the training are named training_...
    """
    from anil_tf.evaluation import card
    from anil_tf.evaluation import protocol as protocols

    facts = card.read(FLAGS[flag].value)
    # The protocol of the card is the validation's; the facts of the training are its own.
    trained = {**facts["protocol"], **facts["training"]}
    described = protocols.describe(
        learner,
        tasks,
        episodes=episodes,
        training_seed=trained["training_seed"],
        checkpoint_rule=trained["checkpoint_rule"],
        weight_averaging=trained["weight_averaging"],
        training_seconds=trained["training_seconds"],
        evaluation_seconds=seconds,
    )
    return described | {f"training_{name}": trained.get(name) for name in _OF_THE_TRAINING}
