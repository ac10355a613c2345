"""What --inner_step_size=auto and --inner_steps=auto stand for: measured when a run begins, then numbers.

A run keeps what it measured, and why, in DIR/advice.json; its flags.txt holds the numbers alone. So
resuming measures nothing, and whatever reads or repeats the run meets one like any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from launch import flags

if TYPE_CHECKING:
    import keras

    import anil_tf.theory.advice
    from anil_tf.training import RunDirectory

FLAGS = flags.FLAGS
NAMES = ("inner_step_size", "inner_steps")
# How many tasks are measured, and how many at a time: fewer where every product runs the layers that adapt.
_TASKS_LINEAR, _TASKS_OTHER, _AT_A_TIME = 16, 4, 8


def asked() -> list[str]:
    """Which of the two flags are auto."""
    return [name for name in NAMES if FLAGS[name].value == "auto"]


def refuse_where_undecided() -> None:
    """Refuses auto where adaptation takes no steps, or where several machines might decide differently.

    Raises:
      InputError: naming the flag.
    """
    why = ""
    if FLAGS.head in ("ridge", "nil"):
        why = f"--head={FLAGS.head} adapts in closed form and has no inner steps"
    elif FLAGS.differentiation == "implicit":
        why = "--differentiation=implicit goes to the minimum, whatever the steps"
    elif FLAGS.strategy == "multi_worker":
        why = "with --strategy=multi_worker each machine would measure for itself"
    for name in asked():
        if why:
            raise flags.InputError(f"--{name}=auto: {why}; expected a number, or no --{name}.")


def kept(directory: RunDirectory) -> dict[str, Any]:
    """The advice that the run in a directory was given: the numbers by flag, and `reason`.

    Args:
      directory: the run; empty where none was given, or where the run's flags say otherwise.
    """
    advice = directory.advice
    trained = flags.read_settings(directory.file("flags.txt")) if advice else {}
    numbers = {name: advice[name] for name in NAMES if name in advice}
    same = all(trained.get(name) == f"--{name}={value}" for name, value in numbers.items())
    return advice if same else {}


def recall(directory: RunDirectory) -> None:
    """Puts the numbers that a run was given in the place of auto, so that it goes on with them.

    Args:
      directory: the run, new or old.
    """
    advice = kept(directory)
    for name in asked():
        if name in advice:
            FLAGS[name].value = advice[name]


def decide(parts: tuple[keras.Model, keras.Model], drawn: anil_tf.episodes.Tasks) -> dict[str, Any]:
    """Measures the first training tasks, and puts numbers in the place of auto.

    Args:
      parts: body and head with their initial weights.
      drawn: the training tasks.

    Returns:
      The advice as it is to be kept; empty where no flag is auto.
    """
    names = asked()
    if not names:
        return {}
    from anil_tf.models.structure import is_linear
    from anil_tf.theory import advice

    given = {"step_size": _number("inner_step_size"), "steps": _number("inner_steps")}
    share = advice.CHEAP if is_linear(parts[1]) else advice.DEAR
    with flags.blamed_on(*names):
        problems = posed(parts, drawn)
        measurement = advice.measure(problems, **given, share=share)
        advised = advice.advise(measurement, **given, share=share)
    for name, value in zip(NAMES, (advised.step_size, advised.steps), strict=True):
        FLAGS[name].value = value
    reason = advised.reason
    if "head_initialization" in _as_trained(drawn):
        reason += (
            "; measured from a head of zeros, since training makes the rows of a free one alike"
        )
    return {name: FLAGS[name].value for name in names} | {"reason": reason}


def posed(
    parts: tuple[keras.Model, keras.Model], drawn: anil_tf.episodes.Tasks
) -> list[anil_tf.theory.advice.Posed]:
    """The inner problems of the first training tasks, as training poses them; what the landscape is measured on.

    Args:
      parts: body and head, with the weights to measure at.
      drawn: the training tasks.

    Returns:
      The problems in batches of tasks.
    """
    import assemble

    from anil_tf.models.structure import is_linear

    count = _TASKS_LINEAR if is_linear(parts[1]) else _TASKS_OTHER
    batches = drawn.replace(meta_batch_size=min(count, _AT_A_TIME))
    probe = assemble.learner(drawn, parts, **_as_trained(drawn))
    return [probe.pose(batches.batch(step)[0]) for step in range(count // batches.meta_batch_size)]


def _as_trained(drawn: anil_tf.episodes.Tasks) -> dict[str, Any]:
    """What else a learner is measured with, so that its inner problems look like those of the training."""
    changes: dict[str, Any] = {
        "inner_steps": 1,  # neither number matters to the problems themselves
        "inner_step_size": 1.0,
        "learned_inner_step_size": "none",
    }
    if FLAGS.normalization == "running":  # moving statistics do not exist yet
        changes["normalization"] = "episode"
    if FLAGS.head == "free" and FLAGS.frozen_in_adaptation == "none" and not drawn.regression:
        # Classes are numbered at random, so that training makes the rows of a free head alike, which softmax does not
        # see: a zero head. The random rows that it begins with would be unlearned in a few steps, and no more advised.
        changes["head_initialization"] = "zero"
    return changes


def _number(name: str) -> float | None:
    return None if FLAGS[name].value == "auto" else FLAGS[name].value
