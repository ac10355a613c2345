"""Who proposes the next setting: KerasTuner's oracles, with what a search needs that they do not have.

a budget                in trials, or in minutes over all starts of the search
a first trial           the setting that the flags give, so that the best found is never below it (Hyperband's begins
                        short, like its others, and may be left behind)
no second trial         of a setting, to the digits in which it is used; Hyperband's longer ones go on from a first
files                   that a kill at any moment leaves whole: they are replaced, not rewritten, and what was begun
                        and not ended is begun again, by whoever had it
lost workers            the trial of one that is silent for too long goes to another

They are what runs where the search runs: in the chief, or in the only process. What begins with an underscore is
KerasTuner's own, as it has no public way to draw a setting, to tell whether one was tried, to queue a trial again, or
to say how files are written.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import time
import warnings
from collections.abc import Mapping
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import Trial, TrialStatus

from anil_tf.files import write_atomically
from anil_tf.tuning import search_space
from anil_tf.tuning.search_space import Value

MOST_FAILURES = 3  # in a row, after which no further trial is begun
_MOST_TRIALS = 9999  # the budget is ours; this makes the numbers of trials four digits long
_MOST_COLLISIONS = 200  # settings drawn in a row that have all been tried, after which none is left


@dataclasses.dataclass(frozen=True)
class Budget:
    """When no further trial is begun: after so many of them, or so many seconds; None is no limit."""

    trials: int | None = None
    seconds: float | None = None


class SearchOracle(keras_tuner.Oracle):
    """What is added to each of KerasTuner's oracles; see the head of this file.

    Args:
        budget: when to stop.
        first: the values of the first trial; ignored where they lie outside of the space.
        patience: seconds after which the trial of a silent worker goes to another one.
        is_chief: whether workers in other processes have the trials.
        **options: KerasTuner's.

    Attributes:
        space: what is searched.
        heard: when each worker was last heard of, by `time.monotonic`.
        failed_in_a_row: trials that failed one after the other, up to now, since the start of this process.
    """

    ongoing_trials: dict[str, Trial]  # KerasTuner's, by worker

    def __init__(
        self,
        *,
        budget: Budget,
        first: Mapping[str, Value],
        patience: float = float("inf"),
        is_chief: bool = False,
        **options: Any,
    ):
        super().__init__(**options)
        self.space = self.get_space()
        self.max_trials = _MOST_TRIALS
        self.verbose = 0
        self.heard: dict[str, float] = {}
        self.failed_in_a_row = 0
        self._budget, self._first = budget, first
        self._patience, self._is_chief = patience, is_chief
        self._max_collisions = _MOST_COLLISIONS  # KerasTuner's 20 gives small spaces up too early
        self._found_nothing_new = False
        self._seconds_before, self._since = 0.0, time.monotonic()

    # ---- Budget ----

    @property
    def seconds(self) -> float:
        """How long the search has taken, over all its starts."""
        return self._seconds_before + time.monotonic() - self._since

    @property
    def is_spent(self) -> bool:
        """Whether no new trial may begin."""
        trials, seconds = self._budget.trials, self._budget.seconds
        return (
            (trials is not None and len(self.trials) >= trials)
            or (seconds is not None and self.seconds >= seconds)
            or self.failed_in_a_row >= MOST_FAILURES
        )

    @property
    def is_exhausted(self) -> bool:
        """Whether the search ended within its budget, as every setting that was drawn had been tried."""
        return self._found_nothing_new and not self.is_spent

    @property
    def is_over(self) -> bool:
        """Whether no trial is under way, none waits, and none may begin."""
        nothing_left = self.is_spent or self._found_nothing_new
        return nothing_left and not self.ongoing_trials and not self._retry_queue

    # ---- Trials ----

    @keras_tuner.synchronized
    def create_trial(self, tuner_id: str) -> Trial:
        """As KerasTuner does, within the budget."""
        self.heard[tuner_id] = time.monotonic()
        self._queue_trials_of_silent_workers()
        if tuner_id in self.ongoing_trials or self._retry_queue or not self.is_spent:
            trial = super().create_trial(tuner_id)
        else:
            trial = Trial(self.get_space(), trial_id="", status=self._status_without_trial())
        if trial.status == TrialStatus.STOPPED:
            self._found_nothing_new = True
            self.tuner_ids.discard(tuner_id)
        else:
            self.tuner_ids.add(tuner_id)
        return trial

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """As KerasTuner does, in numbers of a few digits; what a Gaussian process would repeat is drawn at random."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="sklearn")  # on few trials its fits say much
            values = super().populate_space(trial_id).get("values")
        if values and "tuner/trial_id" not in values and self._duplicate(values):
            values = self._random_values()
        if values:
            return {"status": TrialStatus.RUNNING, "values": values | self._rounded(values)}
        return {"status": self._status_without_trial(), "values": None}

    def _status_without_trial(self) -> str:
        # Nobody goes while others are at work, who may be lost.
        return TrialStatus.IDLE if self.ongoing_trials else TrialStatus.STOPPED

    def _random_values(self) -> dict[str, Value] | None:
        """Draws a setting; all oracles begin with such ones, and the first is the given one."""
        if not self.trials and not search_space.outside(self.space, self._first):
            return {name: self._first[name] for name in search_space.names(self.space)}
        return super()._random_values()

    def _duplicate(self, values: Mapping[str, Value]) -> bool:
        """Whether a setting has been tried; KerasTuner would compare digits that are not used."""
        wanted = self._rounded(values)
        tried = (trial.hyperparameters.values for trial in self.trials.values())
        return any(self._rounded(each) == wanted for each in tried)

    def _rounded(self, values: Mapping[str, Value]) -> dict[str, Value]:
        return search_space.rounded(self.space, values)

    @keras_tuner.synchronized
    def get_trial(self, trial_id: str) -> Trial:
        """As KerasTuner does; a worker calls it as a sign of life."""
        for tuner_id, trial in self.ongoing_trials.items():
            if trial.trial_id == trial_id:
                self.heard[tuner_id] = time.monotonic()
        return super().get_trial(trial_id)

    @keras_tuner.synchronized
    def end_trial(self, trial: Trial) -> None:
        """As KerasTuner does, counting failures."""
        failed = trial.status != TrialStatus.COMPLETED
        self.failed_in_a_row = self.failed_in_a_row + 1 if failed else 0
        super().end_trial(trial)

    def _queue_trials_of_silent_workers(self) -> None:
        now = time.monotonic()
        for tuner_id, trial in list(self.ongoing_trials.items()):
            if now - self.heard[tuner_id] > self._patience:
                del self.ongoing_trials[tuner_id]
                self.tuner_ids.discard(tuner_id)
                self._retry_queue.append(trial.trial_id)

    # ---- Files ----

    def save(self) -> None:
        """As KerasTuner does, but the file is replaced: half a one, which a kill could leave, would end the search."""
        write_atomically(self._get_oracle_fname(), json.dumps(self.get_state()))

    def _save_trial(self, trial: Trial) -> None:
        path = pathlib.Path(self._get_trial_dir(trial.trial_id), "trial.json")
        write_atomically(path, json.dumps(trial.get_state()))

    def get_state(self) -> dict[str, Any]:
        """As KerasTuner does, with the time spent."""
        return super().get_state() | {"seconds": self.seconds}

    def set_state(self, state: dict[str, Any]) -> None:
        """As KerasTuner does, with the time spent."""
        super().set_state(state)
        self._seconds_before, self._since = state["seconds"], time.monotonic()
        self._ongoing_before = dict(self.ongoing_trials)

    def reload(self) -> None:
        """As KerasTuner does, but by the state of each trial.

        A kill between the writing of a trial and of the oracle would else run a finished trial again, and forget one
        that was begun. And a chief leaves trials to the workers that had them, which may still be at work.
        """
        super().reload()
        running = {name for name, t in self.trials.items() if t.status == TrialStatus.RUNNING}
        if self._is_chief:
            self.ongoing_trials = {
                worker: trial
                for worker, trial in self._ongoing_before.items()
                if trial.trial_id in running
            }
            self.heard = dict.fromkeys(self.ongoing_trials, time.monotonic())
        kept = {trial.trial_id for trial in self.ongoing_trials.values()}
        self._retry_queue = sorted(running - kept, reverse=True)  # its last is taken first


class _Random(SearchOracle, keras_tuner.oracles.RandomSearchOracle):
    pass


class _Bayesian(SearchOracle, keras_tuner.oracles.BayesianOptimizationOracle):
    pass


class _Hyperband(SearchOracle, keras_tuner.oracles.HyperbandOracle):
    pass


_KINDS: dict[str, type[SearchOracle]] = {
    "random": _Random,
    "bayesian": _Bayesian,
    "hyperband": _Hyperband,
}


def make(
    tuner: str, space: keras_tuner.HyperParameters, *, epochs: int, seed: int = 0, **options: Any
) -> SearchOracle:
    """Makes an oracle, without trials.

    Args:
        tuner: "random", "bayesian" or "hyperband".
        space: what is searched.
        epochs: of the longest trial; Hyperband begins with shorter ones.
        seed: of the proposals.
        **options: those of `SearchOracle`.
    """
    if tuner == "hyperband":  # sweep after sweep, until the budget is spent
        options |= {"max_epochs": epochs, "hyperband_iterations": 10**6}
    return _KINDS[tuner](
        objective=keras_tuner.Objective("accuracy", "max"),
        hyperparameters=space,
        seed=seed + 1,  # KerasTuner takes 0 for none
        max_consecutive_failed_trials=None,  # it would raise inside a lock, and leave it locked
        **options,
    )
