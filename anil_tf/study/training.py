"""One training run of the study: rows of loss and accuracy against meta-steps, evaluated on fixed tasks.

The same seed gives the same tasks and the same initial weights. Neither depends on what is compared (N, alpha, lambda,
how many layers adapt), so that two cells of one seed differ by that alone: common random numbers.

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

from anil_tf import MetaLearner, build
from anil_tf.config import Training
from anil_tf.config.data import Data
from anil_tf.episodes import Tasks
from anil_tf.episodes.tasks import Element
from anil_tf.study.cell import Row, Scalar
from anil_tf.study.learner_losses import pose
from anil_tf.study.settings import step_size_rule, training_config
from anil_tf.theory.landscape import head_landscape
from anil_tf.training import compile_learner, meta_train

# What fresh weights and their inner loss follow from.
_DECIDE_START = (
    *("dataset", "data_dir", "ways", "shots", "queries", "seed", "body", "filters"),
    *("adapted_layers", "inner_l2", "normalization"),
)
_LANDSCAPE_TASKS = 32
# Whatever the meta-batch is, so that all cells of a seed are evaluated on the same tasks.
_EVALUATION_BATCH = 4
_EVALUATION_SEED = 1_000_003  # added to the cell's: tasks of training classes that no meta-step saw


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
    config, curvature = _with_step_size(settings)
    tasks = build.make_tasks(config, "train")
    learner = make_learner(config, tasks)
    counts = _evaluation_counts(settings)
    evaluations = list(
        meta_train(
            learner,
            _training_batches(config.part(Data)),
            evaluate_at=_checkpoints(settings),
            evaluate=_evaluation(settings, config.part(Data), learner, counts),
        )
    )
    measures = [f"{split}_{name}" for split in counts for name in ("loss", "accuracy")]
    alpha, steps = learner.inner_step_size, learner.inner_steps
    landscape = {
        "alpha": alpha,
        **dataclasses.asdict(curvature),
        "contraction_power": (1.0 - alpha * curvature.strong_convexity) ** steps,
    }
    rows: list[Row] = [
        {"meta_step": one.meta_step}
        | (one.measured or dict.fromkeys(measures, math.nan))
        | {
            "batch_loss": float(np.mean(one.losses))
            if one.losses and not one.diverged
            else math.nan
        }
        | {"diverged": one.diverged, "smoothness": math.nan}
        | landscape
        for one in evaluations
    ]
    if config.adapted_layers == 1:
        rows[0]["smoothness"] = curvature.smoothness_max
        if not rows[-1]["diverged"]:
            rows[-1]["smoothness"] = _curvature(learner, tasks).smoothness_max
    return rows


def make_learner(config: Training, tasks: Tasks) -> MetaLearner:
    """A learner with fresh weights, which depend on the seed and the network only, compiled for training."""
    build.seed(config)
    learner = build.make_learner(config, tasks)
    compile_learner(
        learner,
        build.make_optimizer(config, learner),
        regression=tasks.regression,
        jit_compile=build.jit_compile(config, learner),
    )
    return learner


@functools.lru_cache(maxsize=16)
def _training_batches(data: Data) -> tf.data.Dataset:
    """The meta-batches of training, from the first on: the same graph for all cells of a process that draw them."""
    return build.make_tasks(data, "train").as_dataset()


def _checkpoints(settings: dict[str, Any]) -> list[int]:
    """The meta-steps of the evaluations, the extra one included."""
    steps = checkpoint_steps(settings["meta_steps"], settings["checkpoints"])
    extra = settings.get("extra_checkpoint")
    return sorted({*steps, extra} if extra else steps)


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


# ---- Curvature, and step sizes that follow from it -------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Curvature:
    """L over tasks, median and largest, and the smallest mu."""

    smoothness_median: float = math.nan
    smoothness_max: float = math.nan
    strong_convexity: float = math.nan

    def step_size(self, rule: str) -> float:
        """Alpha by a rule."""
        if rule == "1/L":
            return 1.0 / self.smoothness_max
        if not self.strong_convexity > 0:
            raise ValueError(
                f"inner_step_size='mu/L^2' needs a strongly convex inner loss. Received: mu={self.strong_convexity:g}. "
                "Take inner_l2 > 0, or '1/L'."
            )
        return self.strong_convexity / self.smoothness_max**2


def _with_step_size(settings: dict[str, Scalar]) -> tuple[Training, _Curvature]:
    """The config with its inner step size, and what is known of the landscape that the training starts in."""
    config, rule = training_config(settings), step_size_rule(settings)
    curvature = _Curvature()
    if rule or config.adapted_layers == 1:
        curvature = _curvature_at_start(
            Training(**{name: getattr(config, name) for name in _DECIDE_START}, meta_batch_size=1)
        )
    if rule:
        config = dataclasses.replace(config, inner_step_size=curvature.step_size(rule))
    return config, curvature


@functools.lru_cache(maxsize=64)
def _curvature_at_start(config: Training) -> _Curvature:
    """That of fresh weights, measured once for all cells of a process that begin with them."""
    tasks = build.make_tasks(config, "train")
    build.seed(config)
    return _curvature(build.make_learner(config, tasks), tasks)


def _curvature(learner: MetaLearner, tasks: Tasks) -> _Curvature:
    """The curvature of the inner loss at the weights of the moment, where every inner loop begins."""
    inputs, _ = tasks.replace(meta_batch_size=_LANDSCAPE_TASKS).batch(0)
    posed = pose(learner, inputs)
    # No step is taken: the curvature at the start, which does not depend on N.
    measured = head_landscape(posed.problem, posed.start, posed.shared, steps=0, step_size=1.0)
    return _Curvature(
        float(np.median(measured.smoothness_head)),
        float(np.max(measured.smoothness_head)),
        float(np.min(measured.strong_convexity)),
    )


# ---- Evaluation ------------------------------------------------------------------------------------------------------


def _evaluation(
    settings: dict[str, Any], data: Data, learner: MetaLearner, counts: dict[str, int]
) -> Callable[[], dict[str, float]]:
    """A function that measures the learner as it is: loss and accuracy on each split."""
    data = dataclasses.replace(
        data,
        queries=settings.get("evaluation_queries") or data.queries,
        seed=data.seed + _EVALUATION_SEED,
        meta_batch_size=_EVALUATION_BATCH,
    )
    batches = {split: _evaluation_batches(data, split, count) for split, count in counts.items()}

    @tf.function
    def measure(inputs: dict[str, tf.Tensor], labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        logits = learner(inputs, training=False)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
        hits = tf.argmax(logits, axis=-1, output_type=labels.dtype) == labels
        return tf.reduce_mean(losses, axis=1), tf.reduce_mean(tf.cast(hits, tf.float32), axis=1)

    def evaluate() -> dict[str, float]:
        found: dict[str, float] = {}
        for split, count in counts.items():
            by_task = zip(*(measure(*batch) for batch in batches[split]), strict=True)
            for name, parts in zip(("loss", "accuracy"), by_task, strict=True):
                found[f"{split}_{name}"] = float(np.concatenate(parts)[:count].mean())
        return found

    return evaluate


def _evaluation_counts(settings: dict[str, Any]) -> dict[str, int]:
    """How many tasks of each split an evaluation has."""
    counts = dict.fromkeys(("train", "test"), settings["evaluation_tasks"])
    for split in ("train", "validation"):
        counts[split] = settings.get(f"evaluation_{split}_tasks") or counts.get(split, 0)
    return {split: count for split, count in counts.items() if count}


@functools.lru_cache(maxsize=6)  # of both splits for three seeds
def _evaluation_batches(data: Data, split: str, count: int) -> list[Element]:
    """At least `count` tasks, drawn once for all checkpoints and all cells of a process: a second or two each time."""
    size = min(data.meta_batch_size, count)
    tasks = build.make_tasks(data, split, meta_batch_size=size)
    return list(tasks.as_dataset().take(math.ceil(count / size)))
