"""A finished run, for the commands that start from one: whether it is one, its learner, its protocol."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Any

import anil_tf
from anil_tf.commands import program
from anil_tf.config import InputError, Training, input_errors
from anil_tf.config.finished_run import INNER_LOOP, changeable, settings
from anil_tf.config.heads import HEADS
from anil_tf.episodes import Tasks
from anil_tf.evaluation import card, protocol
from anil_tf.meta_learner import MetaLearner

_FILES = ("model.keras", "card.json")
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


class FinishedRun:
    """A run whose training has ended.

    Args:
        directory: of the run.
        option: that names it, for errors.

    Raises:
        InputError: where there is none that `train` made, or its training has not ended.
    """

    def __init__(self, directory: str, option: str = "run_dir"):
        self.directory, self._option = directory, option
        self.settings: Training = settings(directory, option)
        unfinished = self._why_unfinished()
        if unfinished:
            raise InputError(
                f"expected a finished run, received {unfinished}; {program.command('train')} "
                f"--flagfile={directory}/flags.txt --run_dir={directory} goes on with it.",
                {option: directory},
            )

    def _why_unfinished(self) -> str:
        if not all(os.path.isfile(os.path.join(self.directory, name)) for name in _FILES):
            return f"one without {' and '.join(_FILES)}"
        # A finished run that is being extended still has the model of its first end.
        reached = self.facts["training"].get("epochs")
        if reached not in (None, self.settings.epochs):
            return f"one that is being extended from --epochs={reached} to --epochs={self.settings.epochs}"
        return ""

    @property
    def facts(self) -> dict[str, Any]:
        """What the card says of the training."""
        return card.read(self.directory)

    def learner(self, config: Training, tasks: Tasks, *, keep: Collection[str] = ()) -> MetaLearner:
        """The learner of the run, as a user changed it, for these tasks.

        Args:
            config: options that were given change the learner, where they can.
            tasks: that it is to be used on; they give its ways.
            keep: options that stay the run's, whatever was given.

        Returns:
            A learner, not compiled.

        Raises:
            InputError: for tasks that it cannot take, and for options that this run cannot have.
        """
        learner = anil_tf.load(self.directory)
        self._check_images(learner, tasks)
        self._check_learned(learner, config)
        changes = {
            name: getattr(config, name)
            for name in changeable()
            if name in config.given and name not in keep
        }
        wanted = HEADS[config.head_initialization]
        if "head_initialization" in config.given and wanted.fits_any_body:
            if "inner_steps" in config.given and config.inner_steps:
                raise config.error(
                    f"--head={config.head_initialization} has no inner loop; expected no value.",
                    "inner_steps",
                )
            # The config has the defaults of these; that of a learner says first_order by its differentiation.
            changes |= {name: getattr(config, name) for name in INNER_LOOP if name != "first_order"}
            changes |= {"inner_steps": 0, "head_initialization": config.head_initialization}
        elif (rows := learner.adapted_head.rows) not in (None, tasks.ways):
            raise InputError(
                f"the run in {self.directory} has a free head, which has one learned row for each of {rows} ways; "
                f"expected --ways={rows}, --head=nil, or a run with another --head.",
                {"ways": str(tasks.ways)},
            )
        with input_errors(config, "head_initialization", *changeable()):
            return learner.replace(ways=tasks.ways, **changes)

    def _check_images(self, learner: MetaLearner, tasks: Tasks) -> None:
        expected = tuple(learner.body.input_shape[1:])
        if expected != tuple(tasks.image_shape):
            raise InputError(
                f"this run takes images of shape {expected}, but those of --dataset={tasks.name} have "
                f"{tuple(tasks.image_shape)}.",
                {self._option: self.directory},
            )

    def _check_learned(self, learner: MetaLearner, config: Training) -> None:
        """Refuses other values for what was learned."""
        what = {}
        if learner.learned_inner_step_size != "none":
            what["inner_step_size"] = "inner step size"
        if HEADS[learner.head_initialization].needs_l2:
            what["inner_l2"] = "strength of its ridge regression"
        for name, learned in what.items():
            if name in config.given:
                raise config.error(
                    f"the run in {self.directory} has learned the {learned}; expected no value.",
                    name,
                )

    def protocol(
        self, learner: MetaLearner, tasks: Tasks, *, episodes: int, seconds: float | None
    ) -> dict[str, Any]:
        """The protocol of an evaluation of this run.

        Args:
            learner: that is evaluated.
            tasks: that it is evaluated on.
            episodes: how many of them.
            seconds: that this took; None where nothing was evaluated.

        Returns:
            What `evaluation.protocol.describe` returns; facts of the training are named training_...
        """
        # The protocol of the card is the validation's; the facts of the training are its own.
        trained = {**self.facts["protocol"], **self.facts["training"]}
        described = protocol.describe(
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
