"""A trial of bin/tune.py: a training as bin/train.py does it, with some flags at other values.

And the landscape of its inner problems, which says what inner step sizes are stable.
"""

from __future__ import annotations

import contextlib
import gc
import math
import pathlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import automatic
from launch import flags

if TYPE_CHECKING:
    import keras

    import anil_tf
    from anil_tf.tuning.objective import Score
    from anil_tf.tuning.plots import StabilityLimit
    from anil_tf.tuning.search import Trial
    from anil_tf.tuning.search_directory import SearchDirectory

FLAGS = flags.FLAGS
TRAINING = ("data", "learner", "outer_loop")


@contextlib.contextmanager
def flags_set(values: Mapping[str, Any]) -> Iterator[None]:
    """Gives flags other values inside."""
    before = {name: FLAGS[name].value for name in {*values, *automatic.NAMES}}
    try:
        for name, value in values.items():
            FLAGS[name].value = value
        yield
    finally:
        for name, value in before.items():
            FLAGS[name].value = value


def trial_epochs() -> int:
    """Epochs of the longest trial."""
    return FLAGS.trial_epochs or FLAGS.epochs


class Trials:
    """Runs trials: each a training as bin/train.py does it, in a run directory of its own.

    Args:
        directory: of the search.
        says_what: whether each trial is named, where no table shows them.

    Raises:
        InputError: for flags that make no tasks, or tasks without classes.
    """

    def __init__(self, directory: SearchDirectory, says_what: bool):
        import assemble

        self._directory, self._says_what = directory, says_what
        self._strategy = assemble.strategy()
        self.tasks, self.validation_tasks = assemble.tasks("train"), assemble.tasks("validation")
        if self.tasks.regression:
            raise flags.InputError(
                f"--dataset={FLAGS.dataset}: a search compares accuracies; expected data with "
                "classes."
            )

    def rehearse(self, settings: Iterable[Mapping[str, Any]]) -> None:
        """Makes all that trials with some settings train, and trains nothing.

        Args:
            settings: values of flags, those of the trials.

        Raises:
            InputError: for flags that no trial can be trained with, or a step size of what has no variables.
        """
        import assemble

        for values in settings:
            with flags_set({**values, "epochs": trial_epochs()}):
                learner, _, _ = self._make()
                assemble.jit_compile(learner)
            _refuse_idle_step_sizes(learner, values)

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
        from anil_tf.tuning import objective

        folder = self._directory.run(trial.name, trial.goes_on_from)
        score = objective.read(folder)
        if score is None:
            self._say(trial.name, ", ".join(f"{name}={v}" for name, v in trial.values.items()))
            with flags_set({**trial.values, "epochs": trial_epochs()}):
                score = self._train(folder, trial.epochs or FLAGS.epochs, trial.moved)
            objective.write(score, folder)
            reached = f"{100 * score.accuracy:.2f} ± {100 * score.ci95:.2f} %"
            self._say(trial.name, "diverged" if score.diverged else reached)
        return score

    def _say(self, name: str, text: str) -> None:
        if self._says_what:
            print(f"Trial {name}: {text}", flush=True)

    def _make(
        self,
    ) -> tuple[anil_tf.MetaLearner, keras.optimizers.Optimizer, dict[str, Any]]:
        """Learner and optimizer with fresh weights, as the flags say; and what was measured for those that are auto."""
        import assemble

        _forget()
        assemble.seed()
        with self._strategy.scope():
            network = assemble.parts(self.tasks)
            advice = automatic.decide(network, self.tasks)
            learner = assemble.learner(self.tasks, network)
            return learner, assemble.optimizer(learner), advice

    def _train(self, folder: pathlib.Path, epochs: int, moved: Callable[[], None]) -> Score:
        import assemble
        import keras

        from anil_tf import evaluation, training
        from anil_tf.tuning import objective

        since = time.monotonic()
        learner, optimizer, advice = self._make()

        def after_step(*_: Any, **__: Any) -> None:
            moved()

        steps = keras.callbacks.LambdaCallback(
            on_train_batch_end=after_step, on_test_batch_end=after_step, async_safe=True
        )
        settings = flags.settings(TRAINING) | {"run_dir": f"--run_dir={folder}"}
        training.RunDirectory(str(folder)).prepare(settings, advice=advice)
        try:
            result = assemble.train(
                learner,
                optimizer,
                self.tasks,
                self.validation_tasks,
                run_dir=str(folder),
                strategy=self._strategy,
                epochs=epochs,
                callbacks=[steps],
                quiet=True,
            )
            moved()
            batch = self.validation_tasks.meta_batch_size
            found = evaluation.evaluate(
                learner,
                self.validation_tasks,
                episodes=math.ceil(FLAGS.validation_episodes / batch) * batch,
                progress=False,
            )
        except (training.Diverged, FloatingPointError):
            seconds = time.monotonic() - since
            ways = self.validation_tasks.ways
            return objective.of_divergence(ways=ways, epochs=epochs, seconds=seconds)
        return objective.of_evaluation(found, epochs=epochs, seconds=result.seconds)


def _refuse_idle_step_sizes(learner: anil_tf.MetaLearner, values: Mapping[str, Any]) -> None:
    """Refuses to search an outer step size that moves nothing."""
    for part in ("body", "head"):
        name = f"outer_step_size_{part}"
        if name in values and not getattr(learner, f"{part}_variables"):
            raise flags.InputError(
                f"{FLAGS[f'search_{name}'].serialize()}: the {part} has no variables that are trained "
                f"(--head={FLAGS.head} --adapted_layers={FLAGS.adapted_layers}); expected other "
                "searched settings."
            )


def _forget() -> None:
    """Lets go of what Keras and TensorFlow keep of the trial before."""
    import keras

    keras.utils.clear_session()
    gc.collect()


def stability_limit(
    trials: Trials, where: str, values: Mapping[str, Any], model: pathlib.Path | None = None
) -> StabilityLimit:
    """Up to which inner step size inner steps contract, by the curvatures of training tasks at the start of adaptation.

    Args:
        trials: the trials, for their tasks.
        where: at which weights, in words.
        values: of flags, those of a trial.
        model: whose weights; None is the initial ones.

    Returns:
        2/(L + mu) and 2/L over the tasks.

    Raises:
        ValueError: where the curvatures are not finite.
    """
    import assemble
    import keras
    import numpy as np

    from anil_tf.theory import landscape
    from anil_tf.tuning import plots

    with flags_set(values):
        _forget()
        assemble.seed()
        if model is None:
            parts = assemble.parts(trials.tasks)
        else:
            learner = keras.saving.load_model(model, compile=False)
            parts = learner.body, learner.head
        measured = landscape.concatenate(
            [
                landscape.head_landscape(
                    each.problem, each.start, each.shared, steps=0, step_size=1.0
                )
                for each in automatic.posed(parts, trials.tasks)
            ]
        )
    smoothness = np.asarray(measured.smoothness_head)
    return plots.stability_limit(where, smoothness, np.asarray(measured.strong_convexity))
