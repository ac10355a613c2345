"""The state of a run on disk: everything that the next meta-step depends on.

Two places: DIR holds the latest states, for going on; DIR/best holds the weights that validation
chose, for use. TensorFlow writes each checkpoint under a temporary name, renames it, and only then
points to it, so that a kill at any moment leaves the previous one in force.
"""

from __future__ import annotations

import dataclasses
import math
import os
import shutil
import tempfile
from typing import Any

import keras
import tensorflow as tf

from anil_tf.training.averaging import WeightAverage


@dataclasses.dataclass
class Position:
    """Where a run stands.

    Attributes:
      epoch: epochs that are complete, validation included.
      step: meta-steps done in the epoch under way.
      best: the best validation value so far (accuracy, or the loss of a regression).
      best_epoch: the epoch, counted from 1, that it belongs to; 0 before the first.
      epoch_seconds: time spent in the epoch under way.
      seconds: time spent in complete epochs.
    """

    epoch: int = 0
    step: int = 0
    best: float = math.nan
    best_epoch: int = 0
    epoch_seconds: float = 0.0
    seconds: float = 0.0


class Checkpoints:
    """Saves and restores a run: weights, optimizer, running metrics, averages and position.

    Args:
      directory: where the checkpoints go; made when missing.
      learner: a compiled model whose optimizer is built.
      steps_per_epoch: meta-steps in an epoch; checkpoints are numbered by meta-steps.
      average: the moving average of the weights, if the run keeps one; `best` then holds it.
      writes: whether this process' files are kept; of several workers, one is.

    Example:
      checkpoints = Checkpoints("runs/a/checkpoints", learner, steps_per_epoch=100)
      checkpoints.restore()
      checkpoints.save()
    """

    def __init__(
        self,
        directory: str,
        learner: keras.Model,
        *,
        steps_per_epoch: int,
        average: WeightAverage | None = None,
        writes: bool = True,
    ):
        self.position = Position()
        self._directory = directory
        self._learner = learner
        self._steps_per_epoch = steps_per_epoch
        self._writes = writes
        # Reading them is a step of all workers together, so each must save; only one may keep.
        self._written = directory if writes else tempfile.mkdtemp()
        self._fields = {
            field.name: tf.Variable(getattr(self.position, field.name), dtype=tf.float64)
            for field in dataclasses.fields(Position)
        }
        weights = _tensors(learner.variables)
        state: dict[str, Any] = {
            "variables": weights,
            "optimizer": _tensors(learner.optimizer.variables),
            "metrics": _tensors(learner.metrics_variables),
            "position": self._fields,
        }
        kept = list(weights)
        if average is not None:
            state["average"] = [*average.variables, average.steps]
            kept = average.substituted(learner.variables)
        self._state = tf.train.Checkpoint(**state)
        self._best = tf.train.Checkpoint(variables=kept)
        self._chosen = tf.train.Checkpoint(variables=weights)
        self._latest_manager = tf.train.CheckpointManager(
            self._state, self._written, max_to_keep=2, checkpoint_name="state"
        )
        self._best_manager = tf.train.CheckpointManager(
            self._best, os.path.join(self._written, "best"), max_to_keep=1, checkpoint_name="best"
        )

    @property
    def latest(self) -> str | None:
        """Path (a prefix of files) of the latest state, None before the first."""
        return tf.train.latest_checkpoint(self._directory)

    @property
    def best(self) -> str | None:
        """Path (a prefix of files) of the weights that validation chose, None before the first."""
        return tf.train.latest_checkpoint(os.path.join(self._directory, "best"))

    @property
    def meta_step(self) -> int:
        """Meta-steps done since the beginning of the run."""
        return self.position.epoch * self._steps_per_epoch + self.position.step

    def save(self) -> str:
        """Saves the state of the run as it is now.

        Returns:
          The path of the checkpoint.
        """
        for name, variable in self._fields.items():
            variable.assign(getattr(self.position, name))
        path = os.path.join(self._directory, f"state-{self.meta_step}")
        self._latest_manager.save(checkpoint_number=self.meta_step)
        self._forget_copies()
        return path

    def save_best(self) -> None:
        """Saves the weights (their average, if there is one) as the best so far."""
        self._best_manager.save(checkpoint_number=self.meta_step)
        self._forget_copies()

    def restore(self) -> bool:
        """Goes back to the latest state, if there is one.

        Returns:
          Whether there was one.

        Raises:
          ValueError: if it belongs to another network or optimizer.
        """
        if self.latest is None:
            return False
        _restore(self._state, self.latest)
        for field in dataclasses.fields(Position):
            kind = int if field.type == "int" else float
            value = float(self._fields[field.name].numpy())
            setattr(self.position, field.name, kind(value))
        return True

    def restore_best(self) -> bool:
        """Puts the best weights into the learner.

        Returns:
          Whether there were any.
        """
        if self.best is None:
            return False
        _restore(self._chosen, self.best)
        return True

    def _forget_copies(self) -> None:
        if not self._writes:
            shutil.rmtree(self._written, ignore_errors=True)


def _tensors(variables: list[keras.Variable]) -> list[tf.Variable]:
    return [variable.value for variable in variables]


def _restore(checkpoint: tf.train.Checkpoint, path: str) -> None:
    try:
        checkpoint.restore(path).assert_existing_objects_matched().assert_consumed()
    except (AssertionError, ValueError, tf.errors.OpError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"the checkpoint {path} does not fit this network and optimizer ({reason}); expected a "
            "checkpoint of the same run. Choose another run directory."
        ) from error
