"""One training run of the study: rows of loss and accuracy against meta-steps, evaluated on fixed tasks.

What time a meta-step takes is not measured here, where other cells run alongside, but by `timing.py`; `results.py`
joins the two.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from anil_tf import MetaLearner
from anil_tf.episodes import Tasks
from anil_tf.episodes.tasks import Element
from anil_tf.study.cell import Row, Scalar
from anil_tf.study.learners import make_learner, make_optimizer, make_tasks

Step = Callable[[dict[str, tf.Tensor], tf.Tensor], tf.Tensor]

_Settings = tuple[tuple[str, Scalar], ...]

# What tasks follow from, but for their number; and fresh weights with their inner loss.
_DECIDE_TASKS = ("dataset", "data_dir", "ways", "shots", "queries", "seed")
_DECIDE_START = (
    *_DECIDE_TASKS,
    "body",
    "filters",
    "adapted_layers",
    "inner_l2",
    "normalization",
)
_LANDSCAPE_TASKS = 32
# Whatever the meta-batch is, so that all cells of a seed are evaluated on the same tasks.
_EVALUATION_BATCH = 4
_EVALUATION_SEED = 1_000_003  # added to the cell's: tasks of training classes that no meta-step saw
_STEP_SIZE_RULES = ("1/L", "mu/L^2")


def run(settings: dict[str, Scalar]) -> list[Row]:
    """Meta-trains a learner with a free head.

    Args:
        settings: dataset, data_dir, body, filters, ways, shots, queries, meta_batch_size, adapted_layers (a number or
            "all"), inner_steps, inner_step_size (a number; "1/L" or "mu/L^2" with the landscape at the initial weights,
            L being the largest over 32 training tasks), inner_l2, differentiation, optimizer ("adam" or "sgd"),
            outer_step_size, normalization, meta_steps, checkpoints, evaluation_tasks, seed. Optional:
            evaluation_queries, images per class in the queries of the evaluation (queries is the default), so that
            cells with other queries are measured alike; evaluation_train_tasks, how many tasks of training classes
            (evaluation_tasks is the default); evaluation_validation_tasks, how many tasks of validation classes (none
            is the default), for what is chosen by them; extra_checkpoint, a meta-step at which the run is evaluated
            too.

    Returns:
        A row per checkpoint, that of the initial weights included: `meta_step`; `train_loss`, `train_accuracy`,
        `test_loss`, `test_accuracy` of the queries of `evaluation_tasks` tasks of training and of test classes (in
        nats, and fractions), the same tasks for all checkpoints and all cells of one seed (`validation_loss` and
        `validation_accuracy`, likewise, where asked for); `batch_loss`, the mean query loss of the meta-steps since the
        checkpoint before; `alpha`, the inner step size; `smoothness_median`, `smoothness_max` and `strong_convexity`,
        the curvatures L and mu of the inner loss at the start (missing where a nonlinear head has a given step size);
        `contraction_power`, (1 - alpha mu)^N; `diverged`, whether the training has met a number that is not finite: it
        ends there, and further rows are missing values.
    """
    tasks = make_tasks(settings, "train")
    learner, landscape = _learner(settings, tasks)
    optimizer = make_optimizer(settings, learner)
    train = train_step(learner, optimizer)
    evaluate = _evaluation(settings, learner)
    rows: list[Row] = []
    batches = iter(_supply(_chosen(settings, (*_DECIDE_TASKS, "meta_batch_size"))))
    done, diverged = 0, False
    checkpoints = _checkpoints(settings)
    for checkpoint in checkpoints:
        losses = []
        while done < checkpoint and not diverged:
            losses.append(float(train(*next(batches))))
            diverged = not math.isfinite(losses[-1])
            done += 1
        measured = dict.fromkeys(_measures(settings), math.nan) if diverged else evaluate()
        diverged = diverged or not all(map(math.isfinite, measured.values()))
        batch_loss = float(np.mean(losses)) if losses and not diverged else math.nan
        rows.append(
            {"meta_step": checkpoint}
            | measured
            | {"batch_loss": batch_loss, "diverged": diverged, "smoothness": math.nan}
            | landscape
        )
    if settings["adapted_layers"] == 1:
        rows[0]["smoothness"] = landscape["smoothness_max"]
        if not diverged:
            rows[-1]["smoothness"] = _curvature(learner, tasks).smoothness_max
    return rows


@functools.lru_cache(maxsize=16)
def _supply(settings: _Settings) -> tf.data.Dataset:
    """The meta-batches of training, from the first on: the same graph for all cells of a process that draw them."""
    return make_tasks(dict(settings), "train").as_dataset()


def _checkpoints(settings: dict[str, Scalar]) -> list[int]:
    """The meta-steps of the evaluations, the extra one included."""
    steps = checkpoint_steps(_integer(settings, "meta_steps"), _integer(settings, "checkpoints"))
    extra = settings.get("extra_checkpoint")
    return sorted({*steps, int(extra)} if extra else steps)


def checkpoint_steps(meta_steps: int, checkpoints: int) -> list[int]:
    """Meta-steps at which a run is evaluated: 0, the last, and between them quadratically, denser at the start.

    Args:
        meta_steps: K, at least 1.
        checkpoints: how many, at least 2; fewer come back where they fall together.

    Example:
        >>> checkpoint_steps(300, 6)
        [0, 12, 48, 108, 192, 300]
    """
    if checkpoints < 2:
        raise ValueError(f"checkpoints must be 2 or more. Received: {checkpoints}.")
    fractions = np.linspace(0.0, 1.0, checkpoints) ** 2
    return sorted({round(float(fraction) * meta_steps) for fraction in fractions})


def train_step(learner: MetaLearner, optimizer: Any) -> Step:
    """A compiled meta-step: inputs and query labels of B tasks -> the mean query loss before the update.

    Args:
        learner: what is trained.
        optimizer: of its trainable variables, built.
    """
    variables = learner.trainable_variables

    @tf.function
    def step(inputs: dict[str, tf.Tensor], labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            losses = query_losses(learner(inputs, training=True), labels)
            loss = tf.reduce_mean(losses)
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    return step


def query_losses(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Cross-entropy in nats [B, n_q] of logits [B, n_q, ways] and labels [B, n_q]."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)


def _learner(settings: dict[str, Scalar], tasks: Tasks) -> tuple[MetaLearner, Row]:
    """The learner with its inner step size, and what is known of the landscape that it starts in."""
    wanted = settings["inner_step_size"]
    is_rule = isinstance(wanted, str)
    if is_rule and wanted not in _STEP_SIZE_RULES:
        raise ValueError(
            f"inner_step_size must be a number, {' or '.join(_STEP_SIZE_RULES)}. Received: {wanted!r}."
        )
    learner = make_learner(settings, tasks, inner_step_size=1.0 if is_rule else float(wanted))  # type: ignore[arg-type]
    curvature = _Curvature(math.nan, math.nan, math.nan)
    if is_rule or settings["adapted_layers"] == 1:
        curvature = _curvature_at_start(_chosen(settings, _DECIDE_START))
    alpha = curvature.step_size(str(wanted)) if is_rule else learner.inner_step_size
    contraction = 1.0 - alpha * curvature.strong_convexity
    return learner.replace(inner_step_size=alpha), {
        "alpha": alpha,
        "smoothness_median": curvature.smoothness_median,
        "smoothness_max": curvature.smoothness_max,
        "strong_convexity": curvature.strong_convexity,
        "contraction_power": contraction**learner.inner_steps,
    }


@dataclasses.dataclass(frozen=True)
class _Curvature:
    """L over tasks, median and largest, and the smallest mu."""

    smoothness_median: float
    smoothness_max: float
    strong_convexity: float

    def step_size(self, rule: str) -> float:
        """Alpha by one of _STEP_SIZE_RULES."""
        if rule == "1/L":
            return 1.0 / self.smoothness_max
        if not self.strong_convexity > 0:
            raise ValueError(
                f"inner_step_size='mu/L^2' needs a strongly convex inner loss. Received: mu={self.strong_convexity:g}. "
                "Take inner_l2 > 0, or '1/L'."
            )
        return self.strong_convexity / self.smoothness_max**2


@functools.lru_cache(maxsize=64)
def _curvature_at_start(settings: _Settings) -> _Curvature:
    """That of fresh weights, measured once for all cells of a process that begin with them."""
    # Neither alpha nor N nor the engine matters where no step is taken.
    whole = dict(settings) | {"inner_steps": 1, "differentiation": "explicit", "meta_batch_size": 1}
    tasks = make_tasks(whole, "train")
    return _curvature(make_learner(whole, tasks, inner_step_size=1.0), tasks)


def _curvature(learner: MetaLearner, tasks: Tasks) -> _Curvature:
    """The curvature of the inner loss at the weights of the moment, where every inner loop begins."""
    from anil_tf.study.learner_losses import inner_problem
    from anil_tf.theory.landscape import head_landscape

    inputs, _ = tasks.replace(meta_batch_size=_LANDSCAPE_TASKS).batch(0)
    problem, start, shared = inner_problem(learner, inputs)
    # No step is taken: the curvature at the start, which does not depend on N.
    measured = head_landscape(problem, start, shared, steps=0, step_size=1.0)
    return _Curvature(
        float(np.median(measured.smoothness_head)),
        float(np.max(measured.smoothness_head)),
        float(np.min(measured.strong_convexity)),
    )


def _evaluation(
    settings: dict[str, Scalar], learner: MetaLearner
) -> Callable[[], dict[str, float]]:
    """A function that measures the learner as it is: `_measures`."""
    counts = _evaluation_counts(settings)
    batches = {split: _evaluation_batches(settings, split, n) for split, n in counts.items()}

    @tf.function
    def measure(inputs: dict[str, tf.Tensor], labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        logits = learner(inputs, training=False)
        hits = tf.argmax(logits, axis=-1, output_type=labels.dtype) == labels
        by_task = query_losses(logits, labels), tf.cast(hits, tf.float32)
        return tf.reduce_mean(by_task[0], axis=1), tf.reduce_mean(by_task[1], axis=1)

    def split_means(split: str) -> dict[str, float]:
        measured = [measure(*batch) for batch in batches[split]]
        loss, accuracy = (
            float(np.concatenate(parts)[: counts[split]].mean())
            for parts in zip(*measured, strict=True)
        )
        return {f"{split}_loss": loss, f"{split}_accuracy": accuracy}

    return lambda: {name: value for split in counts for name, value in split_means(split).items()}


def _evaluation_counts(settings: dict[str, Scalar]) -> dict[str, int]:
    """How many tasks of each split an evaluation has."""
    counts = dict.fromkeys(("train", "test"), _integer(settings, "evaluation_tasks"))
    for split in ("train", "validation"):
        if settings.get(f"evaluation_{split}_tasks"):
            counts[split] = _integer(settings, f"evaluation_{split}_tasks")
    return counts


def _measures(settings: dict[str, Scalar]) -> list[str]:
    """What an evaluation measures, by the names of the columns."""
    return [
        f"{split}_{of}" for split in _evaluation_counts(settings) for of in ("loss", "accuracy")
    ]


def _evaluation_batches(settings: dict[str, Scalar], split: str, count: int) -> list[Element]:
    """At least `count` tasks, the same for all cells of a seed."""
    own = {
        "queries": settings.get("evaluation_queries") or settings["queries"],
        "seed": _integer(settings, "seed") + _EVALUATION_SEED,
    }
    drawn = _chosen(settings | own, _DECIDE_TASKS)
    return _drawn(drawn, split, count)


@functools.lru_cache(maxsize=6)  # of both splits for three seeds
def _drawn(settings: _Settings, split: str, count: int) -> list[Element]:
    """Drawn once for all checkpoints, and for all cells that a process runs: a second or two each time."""
    size = min(_EVALUATION_BATCH, count)
    tasks = make_tasks(dict(settings), split, meta_batch_size=size)
    return list(tasks.as_dataset().take(math.ceil(count / size)))


def _chosen(settings: dict[str, Scalar], names: tuple[str, ...]) -> _Settings:
    """Some of the settings, as what a cache can look up."""
    return tuple((name, settings.get(name)) for name in names)


def _integer(settings: dict[str, Scalar], name: str) -> int:
    return int(settings[name])  # type: ignore[arg-type]
