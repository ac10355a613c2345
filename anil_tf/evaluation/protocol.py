"""The protocol of a number: all that must be known to repeat it or to compare it.

Published figures disagree because of what they leave unsaid (normalisation, queries per class,
inner steps at test time, which checkpoint). `describe` gathers all of it into one dictionary of
plain values, which is printed with every number.
"""

from __future__ import annotations

import importlib.metadata
import os
import pathlib
import platform
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import anil_tf
from anil_tf import threads

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_PACKAGES = ("tensorflow", "keras", "tensorflow-datasets", "numpy")
_LABELS = {
    "inner_l2": "inner L2",
    "cpu": "CPU",
    "adapted": "adapted layers",
    "queries": "queries per class",
    "shots": "shots per class",
    "meta_batch_size": "tasks per batch",
    "memory_gib": "memory (GiB)",
    "training_shots": "training shots per class",
    "training_queries": "training queries per class",
    "training_meta_batch_size": "training tasks per meta-step",
    "inner_step_size_range": "inner step sizes, smallest and largest",
}


def describe(
    learner: keras.Model,
    tasks: Any,
    *,
    episodes: int,
    training_seed: int,
    checkpoint_rule: str,
    weight_averaging: float | str = 0.0,
    training_seconds: float | None = None,
    evaluation_seconds: float | None = None,
) -> dict[str, Any]:
    """The whole protocol as plain values that JSON can hold.

    Args:
        learner: the `MetaLearner` as evaluated.
        tasks: the `Tasks` it is evaluated on.
        episodes: how many of them.
        training_seed: the seed of the training; that of the evaluation is `tasks.seed`.
        checkpoint_rule: how the weights were chosen, e.g. "best validation accuracy of one run".
        weight_averaging: the momentum of the moving average of the weights, 0 for none.
        training_seconds: wall-clock time of the training, if known.
        evaluation_seconds: wall-clock time of the evaluation, if known.

    Returns:
        Names and values; `hardware` and `software` are dictionaries themselves.
    """
    return {
        "dataset": tasks.name,
        "split": tasks.split,
        "split_description": tasks.split_description,
        "ways": tasks.ways,
        "shots": tasks.shots,
        "queries": tasks.queries,
        "episodes": episodes,
        "evaluation_seed": tasks.seed,
        "training_seed": training_seed,
        "meta_batch_size": tasks.meta_batch_size,
        **learner.describe(),
        "normalization": learner.normalization,
        "inner_steps": _inner_steps(learner),
        **_inner_step_size(learner),
        "inner_l2": learner.inner_l2,
        "frozen_in_adaptation": learner.frozen_in_adaptation,
        "checkpoint_rule": checkpoint_rule,
        "weight_averaging": weight_averaging or "none",
        "ensemble": "none: one checkpoint",
        "training_seconds": training_seconds,
        "evaluation_seconds": evaluation_seconds,
        "hardware": hardware(),
        "software": software(),
        "commit": commit(),
    }


def _inner_steps(learner: keras.Model) -> int | str:
    """How many inner steps are taken; in words where they are not counted."""
    if not _has_inner_loop(learner):
        return 0
    to_the_minimum = getattr(learner, "differentiation", "") == "implicit"
    return learner.describe()["inner_steps"] if to_the_minimum else learner.inner_steps


def _has_inner_loop(learner: keras.Model) -> bool:
    return getattr(learner, "has_inner_loop", True)


def _inner_step_size(learner: keras.Model) -> dict[str, Any]:
    """The step size that adaptation uses: as set, or as learned (of many the mean, and the range).

    The learned ones are said to six digits, all that float32 is good for.
    """
    if not _has_inner_loop(learner):
        return {"inner_step_size": "none", "learned_inner_step_size": "none"}
    kind = learner.learned_inner_step_size
    if kind == "none":
        return {"inner_step_size": learner.inner_step_size, "learned_inner_step_size": kind}
    learned = np.concatenate([np.ravel(sizes.numpy()) for sizes in learner.inner_step_sizes])
    mean, *ends = (float(f"{size:.6g}") for size in (learned.mean(), learned.min(), learned.max()))
    values = {"inner_step_size": mean, "learned_inner_step_size": kind}
    return values if learned.size == 1 else values | {"inner_step_size_range": ends}


def hardware() -> dict[str, Any]:
    """The machine: `cpu` model, usable `cores`, `memory_gib`, `accelerators` by name."""
    return {
        "cpu": _cpu_model(),
        "cores": threads.cores(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "accelerators": [
            tf.config.experimental.get_device_details(device).get("device_name", device.name)
            for device in tf.config.list_physical_devices()
            if device.device_type != "CPU"
        ],
    }


def software() -> dict[str, str]:
    """Versions of Python, of this package and of the packages that compute."""
    own = {"python": platform.python_version(), "anil_tf": anil_tf.__version__}
    return own | {package: _version(package) for package in _PACKAGES}


def commit() -> str:
    """Which code ran: the clone's commit, or outside a clone the version of the package.

    Returns:
        E.g. "1f0c2e...", "1f0c2e...+changes" where the code differs from the commit, or, outside a
        clone, "anil_tf 0.1.0".
    """
    head = _git("rev-parse", "HEAD") if (_ROOT / ".git").exists() else None
    if head is None:
        return f"anil_tf {anil_tf.__version__}"
    return head + ("+changes" if _git("status", "--porcelain", "--", "anil_tf", "bin") else "")


def rows(protocol: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The protocol as pairs of words for a table, values that are unknown left out.

    Args:
        protocol: what `describe` returns.

    Yields:
        (name, value), both for people.

    Example:
        >>> list(rows({"inner_steps": 5, "training_seconds": 61.0, "hardware": {"cores": 2}}))
        [('inner steps', '5'), ('training time', '1 min 1 s'), ('cores', '2')]
    """
    for key, value in protocol.items():
        if value is None:
            continue
        if key == "hardware":
            yield from rows(value)
        elif isinstance(value, Mapping):
            yield _label(key), ", ".join(f"{name} {version}" for name, version in value.items())
        elif isinstance(value, (list, tuple)):
            yield _label(key), ", ".join(map(str, value)) or "none"
        elif key.endswith("_seconds"):
            yield _label(key.removesuffix("_seconds") + "_time"), duration(value)
        else:
            yield _label(key), str(value)


def duration(seconds: float) -> str:
    """A time for people.

    Args:
        seconds: at least 0.

    Returns:
        E.g. "8.3 s", "4 min 10 s" or "2 h 5 min".
    """
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _label(key: str) -> str:
    return _LABELS.get(key, key.replace("_", " "))


def _cpu_model() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str:
    # tensorflow-cpu is the same library under another name.
    for name in (package, f"{package}-cpu"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "unknown"


def _git(*arguments: str) -> str | None:
    """The output of a git command in the clone, or None where git is missing or refuses."""
    try:
        run = subprocess.run(
            ["git", "-C", str(_ROOT), *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return run.stdout.strip()
