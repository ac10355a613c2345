"""The outer loop: one Keras `fit`, with callbacks that make it safe to stop and to go on.

How a run resumes, in order:

1. The latest state in DIR/checkpoints is restored: weights, optimizer, averages, running metrics,
   and the position (epochs complete, meta-steps done in the epoch under way). Without one, the
   initial state is saved, so that there is always one to go back to.
2. Rows of metrics.csv after that position are dropped: those epochs are done again, the same way.
3. Tasks are a pure function of (seed, step), so the data go on at the step that follows.
4. An epoch that was stopped inside is finished first, by a `fit` of the meta-steps that it lacks,
   with the running metrics as they were; then a second `fit` does the other epochs.
5. After the last epoch the weights that validation chose become DIR/model.keras.

So a run that was stopped and resumed ends with the same weights and the same rows as one that was
not (on one machine; operations with random summation order need --deterministic).
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from anil_tf.signals import Stopped, StopRequest
from anil_tf.training import distribution
from anil_tf.training.averaging import WeightAverage
from anil_tf.training.checkpoints import Checkpoints, Position
from anil_tf.training.divergence import DivergenceGuard
from anil_tf.training.logs import EpochLog, ProgressBar
from anil_tf.training.trainer import compile_learner


@dataclasses.dataclass(frozen=True)
class Result:
    """What a finished run reached on the validation tasks.

    Attributes:
      best: accuracy (a fraction; regression: the loss) of the weights in model.keras.
      best_epoch: the epoch that they come from, counted from 1.
      epochs: epochs of the run.
      meta_steps: meta-steps of the run.
      seconds: time of training and validation, over all starts of the run.
    """

    best: float
    best_epoch: int
    epochs: int
    meta_steps: int
    seconds: float


def run(
    learner: keras.Model,
    tasks: Any,
    validation_tasks: Any,
    *,
    run_dir: str,
    optimizer: keras.optimizers.Optimizer,
    epochs: int,
    steps_per_epoch: int,
    validation_episodes: int = 200,
    weight_averaging: float = 0.0,
    jit_compile: bool | str = "auto",
    strategy: tf.distribute.Strategy | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    after_epoch: Callable[[int], None] | None = None,
    quiet: bool = False,
) -> Result:
    """Meta-trains a learner, or goes on with a run that was stopped.

    Args:
      learner: a `MetaLearner`, made under `strategy.scope()`; ends with the best weights.
      tasks: `Tasks` of the training classes.
      validation_tasks: `Tasks` of the validation classes; the same episodes after every epoch.
      run_dir: where checkpoints, logs and model.keras go.
      optimizer: from `optimizers.build`, made under `strategy.scope()`.
      epochs: epochs of the whole run, those done earlier included.
      steps_per_epoch: meta-steps in an epoch.
      validation_episodes: rounded up to whole meta-batches.
      weight_averaging: momentum of the moving average of weights, 0 for none.
      jit_compile: "auto", True or False, as in `MetaLearner.compile`.
      strategy: where to compute; None is one device.
      callbacks: further Keras callbacks; they must not change the learner.
      after_epoch: called after every epoch with its number, counted from 0, while the learner has
        the weights that were validated (their average, if the run keeps one).
      quiet: print no line per epoch; on a terminal the bar is drawn all the same.

    Returns:
      What the run reached on the validation tasks.

    Raises:
      Stopped: after SIGINT or SIGTERM, when the state is saved.
      Diverged: when the loss or a weight is no longer finite.
      ValueError: when the checkpoint in `run_dir` belongs to another network, or when the workers
        do not share `run_dir`.

    Example:
      optimizer = optimizers.build(learner, OuterLoop(outer_step_size_head=1e-2))
      run(learner, tasks, validation_tasks, run_dir="runs/a", optimizer=optimizer,
          epochs=20, steps_per_epoch=100)
    """
    strategy = strategy or tf.distribute.get_strategy()
    with strategy.scope():
        _compile(learner, optimizer, tasks, jit_compile, strategy)
        average = WeightAverage(learner, weight_averaging) if weight_averaging else None
    writes = distribution.is_chief(strategy)
    checkpoints = Checkpoints(
        os.path.join(run_dir, "checkpoints"),
        learner,
        steps_per_epoch=steps_per_epoch,
        average=average,
        writes=writes,
    )
    with StopRequest() as stop:
        restored = checkpoints.restore()
        _require_agreement(checkpoints.meta_step if restored else -1, run_dir, strategy)
        if not restored:
            checkpoints.save()
        bar = ProgressBar(epochs * steps_per_epoch, checkpoints.meta_step, tasks.meta_batch_size)
        guard = DivergenceGuard(checkpoints, getattr(learner, "inner_step_size", None))
        keeper = _Keeper(
            checkpoints,
            guard,
            stop,
            epochs=epochs,
            steps_per_epoch=steps_per_epoch,
            by_accuracy=not tasks.regression,
            strategy=strategy,
        )
        log = EpochLog(
            run_dir,
            checkpoints.position,
            steps_per_epoch=steps_per_epoch,
            epochs=epochs,
            meta_batch_size=tasks.meta_batch_size,
            metrics=("loss",) if tasks.regression else ("loss", "accuracy"),
            say=bar.say if writes and not quiet else lambda line: None,
            writes=writes,
        )
        tensorboard = keras.callbacks.TensorBoard(
            os.path.join(run_dir, "tensorboard"), write_graph=False
        )
        shown = [bar, tensorboard, *callbacks] if writes else []
        # All workers exchange their weights for the averages, one looks at them.
        validated = _AfterEpoch(after_epoch if writes else None, average)
        try:
            _fit(
                learner,
                tasks,
                validation_tasks,
                position=checkpoints.position,
                epochs=epochs,
                steps_per_epoch=steps_per_epoch,
                validation_steps=math.ceil(validation_episodes / validation_tasks.meta_batch_size),
                # The guard comes first and the keeper last: nothing that is not finite is
                # averaged, written or saved, and what is saved has been written.
                callbacks=[guard, *([average] if average else []), log, *shown, validated, keeper],
            )
        finally:
            bar.close()
    distribution.wait_for_all(strategy)  # until the best weights are written
    checkpoints.restore_best()
    if writes:
        _save_model(learner, os.path.join(run_dir, "model.keras"))
    position = checkpoints.position
    return Result(
        best=position.best,
        best_epoch=position.best_epoch,
        epochs=position.epoch,
        meta_steps=checkpoints.meta_step,
        seconds=position.seconds,
    )


def _compile(
    learner: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    tasks: Any,
    jit_compile: bool | str,
    strategy: tf.distribute.Strategy,
) -> None:
    """Compiles the learner, and makes all variables now, so that a checkpoint can fill them."""
    accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    metrics = [] if tasks.regression else [accuracy]
    compile_learner(
        learner, optimizer, regression=tasks.regression, metrics=metrics, jit_compile=jit_compile
    )
    if metrics:
        labels, logits = tf.zeros([1, 1], tf.int32), tf.zeros([1, 1, tasks.ways])
        strategy.run(lambda: learner.compute_metrics(None, labels, logits))
        learner.reset_metrics()


def _fit(
    learner: keras.Model,
    tasks: Any,
    validation_tasks: Any,
    *,
    position: Position,
    epochs: int,
    steps_per_epoch: int,
    validation_steps: int,
    callbacks: list[keras.callbacks.Callback],
) -> None:
    """Finishes the epoch under way, if the run was stopped inside one, then does the others."""
    parts = [(epochs, steps_per_epoch, callbacks)]
    if position.step:
        lacking = steps_per_epoch - position.step
        parts.insert(0, (position.epoch + 1, lacking, [_RestoredMetrics(learner), *callbacks]))
    for last_epoch, steps, used in parts:
        if position.epoch >= last_epoch:
            continue
        learner.fit(
            tasks.from_step(position.epoch * steps_per_epoch + position.step).as_dataset(),
            initial_epoch=position.epoch,
            epochs=last_epoch,
            steps_per_epoch=steps,
            # Finite, so that Keras begins anew after every epoch instead of drawing further tasks.
            validation_data=validation_tasks.as_dataset().take(validation_steps),
            callbacks=used,
            shuffle=False,
            verbose=0,
        )


def _require_agreement(restored_step: int, run_dir: str, strategy: tf.distribute.Strategy) -> None:
    """Raises in all workers unless they go on from the same meta-step (-1: from the beginning)."""
    if not distribution.same_everywhere(restored_step, strategy):
        found = f"meta-step {restored_step}" if restored_step >= 0 else "no checkpoint"
        raise ValueError(
            f"the workers go on from different states: this one found {found} in {run_dir}. "
            "Expected a directory that all workers share."
        )


class _AfterEpoch(keras.callbacks.Callback):
    """Calls a function while the model has the weights that were validated."""

    def __init__(self, function: Callable[[int], None] | None, average: WeightAverage | None):
        super().__init__()
        self._function = function
        self._average = average

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        with self._average.in_the_model() if self._average else contextlib.nullcontext():
            if self._function:
                self._function(epoch)


class _RestoredMetrics(keras.callbacks.Callback):
    """Puts back the running metrics that a model has now, after Keras has cleared them for the epoch."""

    def __init__(self, model: keras.Model):
        super().__init__()
        self._values = [variable.numpy() for variable in model.metrics_variables]

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        for variable, value in zip(self.model.metrics_variables, self._values, strict=True):
            variable.assign(value)


class _Keeper(keras.callbacks.Callback):
    """Keeps count, saves after every epoch and on request, and notes the best weights."""

    def __init__(
        self,
        checkpoints: Checkpoints,
        guard: DivergenceGuard,
        stop: StopRequest,
        *,
        epochs: int,
        steps_per_epoch: int,
        by_accuracy: bool,
        strategy: tf.distribute.Strategy,
    ):
        super().__init__()
        self._checkpoints = checkpoints
        self._guard = guard
        self._stop = stop
        self._epochs = epochs
        self._steps_per_epoch = steps_per_epoch
        self._by_accuracy = by_accuracy
        self._strategy = strategy

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        position = self._checkpoints.position
        position.step += 1
        requested = distribution.any_worker(self._stop.requested, self._strategy)
        # A request at the last step waits for validation, which is where the epoch ends.
        if requested and position.step < self._steps_per_epoch:
            self._guard.check_weights()
            self._save_and_stop()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        position = self._checkpoints.position
        position.epoch, position.step = epoch + 1, 0
        position.seconds += position.epoch_seconds
        position.epoch_seconds = 0.0
        value = float((logs or {})["val_accuracy" if self._by_accuracy else "val_loss"])
        if self._is_best(value):
            position.best, position.best_epoch = value, epoch + 1
            self._checkpoints.save_best()
        if distribution.any_worker(self._stop.requested, self._strategy) and (
            position.epoch < self._epochs
        ):
            self._save_and_stop()
        self._checkpoints.save()

    def _is_best(self, value: float) -> bool:
        best = self._checkpoints.position.best
        if math.isnan(best):
            return True
        return value > best if self._by_accuracy else value < best

    def _save_and_stop(self) -> None:
        path = self._checkpoints.save()
        total = self._epochs * self._steps_per_epoch
        raise Stopped(
            f"stopped by a signal after meta-step {self._checkpoints.meta_step} of {total}; saved "
            f"in {path}."
        )


def _save_model(learner: keras.Model, path: str) -> None:
    """Writes the model without its optimizer, so that loading it takes the network alone."""
    temporary = f"{path.removesuffix('.keras')}.tmp.keras"
    learner.replace().save(temporary)
    os.replace(temporary, path)
