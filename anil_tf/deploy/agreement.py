"""Does what was written answer as the learner does? Every format asks before it lets its files out.

A made task is put to the learner and to the file, in each way in which the file can be asked: in one call, and, where
it has an `adapt`, by the state that this returns.
"""

from __future__ import annotations

import importlib.util
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from anil_tf.deploy.formats import Options
from anil_tf.deploy.made_task import MadeTask, made_task
from anil_tf.deploy.runtimes import Runtime
from anil_tf.deploy.signatures import Signatures
from anil_tf.meta_learner import MetaLearner
from anil_tf.models.keras_internals import flattened_layers

# What a number may differ by from that of the learner before an export counts as failed; and where the learner computes
# its body in bfloat16, whose eight bits of fraction no other runtime rounds alike.
TOLERANCE, BFLOAT16_TOLERANCE = 1e-3, 5e-2


class Reference(NamedTuple):
    """A task and the learner's own answers to it, float32 [ways * queries, ways]."""

    task: MadeTask
    answers: np.ndarray


def check(format_name: str, options: Options, runtime: str, *, module: str, install: str) -> None:
    """Refuses the export of a format whose runtime is not installed, or whose statistics it cannot hold."""
    if options.normalization == "episode":
        raise ValueError(
            f"{format_name} exports take normalization=support or running. Received: episode. Export as saved_model."
        )
    if importlib.util.find_spec(module) is None:
        raise ValueError(
            f"A {format_name} export is compared with the learner before it is let out, which needs {runtime}. It is "
            f"not installed: pip install {install}."
        )


def reference(learner: MetaLearner, options: Options) -> Reference:
    """Puts a made task to the learner, as it is: in its own precision."""
    task = made_task(learner, options)
    signatures = Signatures(
        learner, normalization=options.normalization, temperature=options.temperature
    )
    (answers,) = signatures.adapt_and_predict(*map(tf.constant, task.question)).values()
    return Reference(task, answers.numpy())


def largest_difference(
    runtime: Runtime, reference: Reference, *, name: str, adapts: bool, tolerance: float | None
) -> float:
    """Puts the task to a file.

    Args:
        runtime: the loaded file.
        reference: what `reference` returned.
        name: of the file, for the error.
        adapts: whether it has an `adapt` and a `predict`, which are then asked as well.
        tolerance: the most that may be; None where weights are rounded, and all that is asked are numbers.

    Returns:
        The largest difference of an answer from the learner's.

    Raises:
        RuntimeError: for a difference above the tolerance, and for answers that are not finite.
    """
    support, labels, queries = reference.task.question
    answers = [runtime.adapt_and_predict(support, labels, queries)]
    if adapts:
        answers.append(runtime.predict(queries, runtime.adapt(support, labels)))
    difference = float(np.abs(np.stack(answers) - reference.answers).max())
    refuse(difference, tolerance, name)
    return difference


def refuse(difference: float, tolerance: float | None, name: str) -> None:
    """Raises the error of `largest_difference`, where there is one."""
    if np.isfinite(difference) and (tolerance is None or difference <= tolerance):
        return
    expected = "a finite one" if tolerance is None else f"{tolerance:g} at most"
    raise RuntimeError(
        f"{name} answers other than the learner: a largest difference of {difference:.1e}, where {expected} was "
        "expected; nothing is exported."
    )


def tolerance_of(learner: MetaLearner) -> float:
    """What another runtime's answer may differ by from that of a learner."""
    return BFLOAT16_TOLERANCE if computes_in_bfloat16(learner) else TOLERANCE


def computes_in_bfloat16(learner: MetaLearner) -> bool:
    """Whether any layer of the body computes in a lower precision than its weights have."""
    policies = [layer.dtype_policy for layer in flattened_layers(learner.body)]
    return any(policy.compute_dtype != policy.variable_dtype for policy in policies)
