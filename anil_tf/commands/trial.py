"""The trials of `anil_tf tune`: each a training as `anil_tf train` does it, with some options at other values."""

from __future__ import annotations

import dataclasses
import gc
import math
import pathlib
import time
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np

from anil_tf import auto, build, evaluation, meta_learner
from anil_tf import training as outer_loop
from anil_tf.config import Train, Training, Tune
from anil_tf.theory import landscape
from anil_tf.tuning.plots import StabilityLimit
from anil_tf.tuning.score import Score
from anil_tf.tuning.search import Trial
from anil_tf.tuning.search_directory import SearchDirectory


def training(config: Tune, values: Mapping[str, Any]) -> Training:
    """A training of full length with the values of a trial."""
    return dataclasses.replace(config.part(Training), **values)


def epochs(config: Tune) -> int:
    """Epochs of the longest trial."""
    return config.trial_epochs or config.epochs


class Trials:
    """Runs trials, each in a run directory of its own.

    Args:
        config: of the search.
        directory: of the search.
        announces: whether each trial is named, where no table shows them.

    Raises:
        InputError: for options that make no tasks, or tasks without classes.
    """

    def __init__(self, config: Tune, directory: SearchDirectory, announces: bool):
        self._config, self._directory, self._announces = config, directory, announces
        self._strategy = build.make_strategy(config)
        self._tasks = build.make_tasks(config, "train")
        self._validation_tasks = build.make_tasks(config, "validation")
        if self._tasks.regression:
            raise config.error(
                "a search compares accuracies; expected data with classes.", "dataset"
            )

    def rehearse(self, settings: Iterable[Mapping[str, Any]]) -> None:
        """Makes all that trials with some settings train, and trains nothing.

        Args:
            settings: values of options, those of the trials.

        Raises:
            InputError: for options that no trial can be trained with, or a step size of what has no variables.
        """
        for values in settings:
            config, learner, _, _ = self._make(self._short(values))
            build.jit_compile(config, learner)
            self._refuse_idle_step_sizes(learner, values)

    def run(self, trial: Trial) -> Score:
        """Runs a trial; one that was begun goes on, one that is finished is not run again.

        Args:
            trial: what is to be tried.

        Returns:
            Its score, which is that of chance where its training diverges.

        Raises:
            Stopped: after SIGINT or SIGTERM, when its state is saved.
            InputError: for values that no learner can be made with.
        """
        folder = self._directory.run(trial.name, trial.goes_on_from)
        score = Score.read(folder)
        if score is None:
            self._announce(trial.name, ", ".join(f"{n}={v}" for n, v in trial.values.items()))
            score = self._train(folder, trial)
            score.write(folder)
            self._announce(trial.name, "diverged" if score.diverged else str(score))
        return score

    def _announce(self, name: str, text: str) -> None:
        if self._announces:
            print(f"Trial {name}: {text}", flush=True)

    def _short(self, values: Mapping[str, Any]) -> Training:
        """A training as long as the longest trial."""
        return dataclasses.replace(training(self._config, values), epochs=epochs(self._config))

    def _make(
        self, config: Training
    ) -> tuple[Training, meta_learner.MetaLearner, keras.optimizers.Optimizer, dict[str, Any]]:
        """The config with numbers for "auto", learner and optimizer with fresh weights, and what "auto" came from."""
        _start_afresh(config)
        with self._strategy.scope():
            network = build.make_network(config, self._tasks)
            config, advice = auto.resolve(config, network, self._tasks)
            learner = build.make_learner(config, self._tasks, network)
            return config, learner, build.make_optimizer(config, learner), advice

    def _train(self, folder: pathlib.Path, trial: Trial) -> Score:
        since = time.monotonic()
        config, learner, optimizer, advice = self._make(self._short(trial.values))
        length = trial.epochs or config.epochs

        def after_step(*_: Any, **__: Any) -> None:
            trial.on_step()

        run = Train(run_dir=str(folder), **config.to_dict())
        outer_loop.RunDirectory(str(folder)).prepare(run, advice=advice)
        batch = self._validation_tasks.meta_batch_size
        try:
            result = outer_loop.run(
                learner,
                self._tasks,
                self._validation_tasks,
                run_dir=str(folder),
                optimizer=optimizer,
                epochs=length,
                steps_per_epoch=config.steps_per_epoch,
                validation_episodes=config.validation_episodes,
                weight_averaging=config.weight_averaging,
                jit_compile=build.jit_compile(config, learner),
                strategy=self._strategy,
                callbacks=[
                    keras.callbacks.LambdaCallback(
                        on_train_batch_end=after_step, on_test_batch_end=after_step, async_safe=True
                    )
                ],
                quiet=True,
            )
            trial.on_step()
            found = evaluation.evaluate(
                learner,
                self._validation_tasks,
                episodes=math.ceil(config.validation_episodes / batch) * batch,
                progress=False,
            )
        except (outer_loop.Diverged, FloatingPointError):
            seconds, ways = time.monotonic() - since, self._validation_tasks.ways
            return Score.of_divergence(ways=ways, epochs=length, seconds=seconds)
        return Score.of_evaluation(found, epochs=length, seconds=result.seconds)

    def _refuse_idle_step_sizes(self, learner: Any, values: Mapping[str, Any]) -> None:
        """Refuses to search an outer step size that moves nothing."""
        for part in ("body", "head"):
            name = f"outer_step_size_{part}"
            if name in values and not getattr(learner, f"{part}_variables"):
                raise self._config.error(
                    f"the {part} has no variables that are trained (--head={self._config.head_initialization} "
                    f"--adapted_layers={self._config.adapted_layers}); expected other searched settings.",
                    f"search_{name}",
                )

    def stability_limit(
        self, where: str, values: Mapping[str, Any], model: pathlib.Path | None = None
    ) -> StabilityLimit:
        """Up to which inner step size inner steps contract, by the curvatures of training tasks at their start.

        Args:
            where: at which weights, in words.
            values: of options, those of a trial.
            model: whose weights; None is the initial ones.

        Raises:
            ValueError: where the curvatures are not finite.
        """
        config = training(self._config, values)
        _start_afresh(config)
        if model is None:
            network = build.make_network(config, self._tasks)
        else:
            learner = keras.saving.load_model(model, compile=False)
            network = learner.body, learner.head
        measured = landscape.concatenate(
            [
                landscape.head_landscape(
                    each.problem, each.start, each.shared, steps=0, step_size=1.0
                )
                for each in auto.training_problems(config, network, self._tasks)
            ]
        )
        return StabilityLimit.of_curvatures(
            where, np.asarray(measured.smoothness_head), np.asarray(measured.strong_convexity)
        )


def _start_afresh(config: Training) -> None:
    """Lets go of what Keras and TensorFlow keep of the trial before, and seeds everything."""
    keras.utils.clear_session()
    gc.collect()
    build.seed(config)
