"""Who proposes the next setting: KerasTuner's oracles, with what a search needs that they do not have.

a budget                in trials, or in minutes over all starts of the search
a first trial           the setting that the flags give, so that the best found is never below it (Hyperband's begins
                        short, like its others, and may be left behind)
no second trial         of a setting, to the digits in which it is used; Hyperband's longer ones go on from a first
a memory                that a kill at any moment leaves whole: files are replaced, not rewritten, and what was
                        begun and not ended is begun again, by whoever had it
an ear                  which worker was heard of when; the trial of one that is silent for too long goes to another

They are what runs where the search runs: in the chief, or in the only process.
"""

from __future__ import annotations

import dataclasses
import json
import time
import warnings
from collections.abc import Mapping
from typing import Any

import keras_tuner
from keras_tuner.src import config as keras_tuner_config
from keras_tuner.src import utils as keras_tuner_utils
from keras_tuner.src.engine.trial import Trial, TrialStatus

from anil_tf.files import write_atomically
from anil_tf.tuning import objective
from anil_tf.tuning.search_space import SearchSpace, Value

TUNERS = ("random", "bayesian", "hyperband")
_MOST_TRIALS = 9999  # the budget is ours; this makes the numbers of trials four digits long
MOST_FAILURES = 3  # in a row, after which no further trial is begun
_MOST_COLLISIONS = 200  # settings drawn in a row that have all been tried, after which none is left


@dataclasses.dataclass(frozen=True)
class Budget:
    """When no further trial is begun: after so many of them, or so many seconds; None is no limit."""

    trials: int | None = None
    seconds: float | None = None


class SearchOracle(keras_tuner.Oracle):
    """What `make` adds to each of KerasTuner's oracles; see the head of this file.

    Attributes:
        heard: when each worker was last heard of, by `time.monotonic`.
        failed_in_a_row: trials that failed one after the other, up to now, since the start of this process.
        told_to_stop: whether a worker that asked for a trial was told that there is none.
    """

    ongoing_trials: dict[str, Trial]  # KerasTuner's, by worker
    space: SearchSpace
    budget: Budget
    first: Mapping[str, Value]
    patience: float
    is_chief: bool

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.verbose = 0
        self.heard: dict[str, float] = {}
        self.failed_in_a_row = 0
        self.told_to_stop = False
        self._max_collisions = (
            _MOST_COLLISIONS  # KerasTuner's own, 20, gives small spaces up too early
        )
        self._seconds_before = 0.0
        self._since = time.monotonic()

    # ---- Budget ----

    @property
    def seconds(self) -> float:
        """How long the search has taken, over all its starts."""
        return self._seconds_before + time.monotonic() - self._since

    @property
    def is_spent(self) -> bool:
        """Whether no new trial may begin."""
        trials, seconds = self.budget.trials, self.budget.seconds
        return (
            (trials is not None and len(self.trials) >= trials)
            or (seconds is not None and self.seconds >= seconds)
            or self.failed_in_a_row >= MOST_FAILURES
        )

    @property
    def is_over(self) -> bool:
        """Whether no trial is under way, none waits, and none may begin."""
        nothing_left = self.is_spent or self.told_to_stop
        return nothing_left and not self.ongoing_trials and not self._retry_queue

    @property
    def is_exhausted(self) -> bool:
        """Whether the search ended within its budget, as every setting that was drawn had been tried."""
        return self.told_to_stop and not self.is_spent

    # ---- Trials ----

    @keras_tuner.synchronized
    def create_trial(self, tuner_id: str) -> Trial:
        """As KerasTuner does, within the budget; nobody goes while others are at work, who may be lost."""
        self.heard[tuner_id] = time.monotonic()
        self._take_from_the_silent()
        if tuner_id in self.ongoing_trials or self._retry_queue or not self.is_spent:
            trial = super().create_trial(tuner_id)
        else:
            status = TrialStatus.IDLE if self.ongoing_trials else TrialStatus.STOPPED
            trial = Trial(hyperparameters=self.get_space(), trial_id="", status=status)
        if trial.status == TrialStatus.STOPPED:
            self.told_to_stop = True
            self.tuner_ids.discard(tuner_id)
        else:
            self.tuner_ids.add(tuner_id)
        return trial

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """As KerasTuner does, in numbers of a few digits; what a Gaussian process would repeat is drawn at random."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="sklearn")  # on few trials its fits say much
            proposed = super().populate_space(trial_id)
        values = proposed.get("values")
        if values and "tuner/trial_id" not in values and self._duplicate(values):
            values = self._random_values()
        if values:
            return {"status": TrialStatus.RUNNING, "values": values | self.space.plain(values)}
        # Nobody goes while others are at work, who may be lost.
        status = TrialStatus.IDLE if self.ongoing_trials else TrialStatus.STOPPED
        return {"status": status, "values": None}

    def _random_values(self) -> dict[str, Value] | None:
        """Draws a setting; all oracles begin with such ones, and the first is the given one."""
        if not self.trials and self.space.holds(self.first):
            return {name: self.first[name] for name in self.space.names}
        return super()._random_values()

    def _duplicate(self, values: Mapping[str, Value]) -> bool:
        """Whether a setting has been tried. KerasTuner asks this when it draws one, and would compare unused digits."""
        wanted = self.space.plain(values)
        tried = (trial.hyperparameters.values for trial in self.trials.values())
        return any(self.space.plain(each) == wanted for each in tried)

    @keras_tuner.synchronized
    def get_trial(self, trial_id: str) -> Trial:
        """As KerasTuner does; a worker calls it as a sign of life."""
        self._hear(trial_id)
        return super().get_trial(trial_id)

    @keras_tuner.synchronized
    def update_trial(self, trial_id: str, metrics: dict[str, float], step: int = 0) -> Trial:
        """As KerasTuner does."""
        self._hear(trial_id)
        return super().update_trial(trial_id, metrics, step=step)

    @keras_tuner.synchronized
    def end_trial(self, trial: Trial) -> None:
        """As KerasTuner does, counting failures."""
        self._hear(trial.trial_id)
        failed = trial.status in (TrialStatus.FAILED, TrialStatus.INVALID)
        self.failed_in_a_row = self.failed_in_a_row + 1 if failed else 0
        super().end_trial(trial)

    def _hear(self, trial_id: str) -> None:
        for tuner_id, trial in self.ongoing_trials.items():
            if trial.trial_id == trial_id:
                self.heard[tuner_id] = time.monotonic()

    def _take_from_the_silent(self) -> None:
        """Puts the trials of workers that are silent for too long back into the queue."""
        now = time.monotonic()
        for tuner_id, trial in list(self.ongoing_trials.items()):
            if now - self.heard[tuner_id] > self.patience:
                del self.ongoing_trials[tuner_id]
                self.tuner_ids.discard(tuner_id)
                self._retry_queue.append(trial.trial_id)

    # ---- Memory ----

    def get_state(self) -> dict[str, Any]:
        """As KerasTuner does, with the time spent."""
        return super().get_state() | {"seconds": self.seconds}

    def set_state(self, state: dict[str, Any]) -> None:
        """As KerasTuner does, with the time spent."""
        super().set_state(state)
        self._seconds_before, self._since = state["seconds"], time.monotonic()
        self._had = dict(self.ongoing_trials)

    def reload(self) -> None:
        """As KerasTuner does, but by the state of each trial.

        A kill between the writing of a trial and of the oracle would else run a finished trial again, and forget one
        that was begun. And a chief leaves trials to the workers that had them, which may still be at work.
        """
        super().reload()
        running = {name for name, t in self.trials.items() if t.status == TrialStatus.RUNNING}
        if self.is_chief:
            self.ongoing_trials = {w: t for w, t in self._had.items() if t.trial_id in running}
            self.heard = dict.fromkeys(self.ongoing_trials, time.monotonic())
        kept = {trial.trial_id for trial in self.ongoing_trials.values()}
        self._retry_queue = sorted(running - kept, reverse=True)  # its last is taken first


class _Random(SearchOracle, keras_tuner.oracles.RandomSearchOracle):
    pass


class _Bayesian(SearchOracle, keras_tuner.oracles.BayesianOptimizationOracle):
    pass


class _Hyperband(SearchOracle, keras_tuner.oracles.HyperbandOracle):
    pass


def make(
    tuner: str,
    space: SearchSpace,
    *,
    budget: Budget,
    epochs: int,
    seed: int = 0,
    first: Mapping[str, Value] | None = None,
    patience: float = float("inf"),
    is_chief: bool = False,
) -> SearchOracle:
    """Makes an oracle.

    Args:
        tuner: one of `TUNERS`.
        space: what is searched.
        budget: when to stop.
        epochs: of the longest trial; Hyperband begins with shorter ones.
        seed: of the proposals.
        first: the values of the first trial; ignored where they lie outside of the space.
        patience: seconds after which the trial of a silent worker goes to another one.
        is_chief: whether workers in other processes have the trials.

    Returns:
        The oracle, without trials.

    Raises:
        ValueError: for an unknown tuner.
    """
    if tuner not in TUNERS:
        raise ValueError(f"expected tuner {'|'.join(TUNERS)}, received {tuner!r}.")
    options: dict[str, Any] = {
        "objective": keras_tuner.Objective(objective.NAME, "max"),
        "hyperparameters": space.hyperparameters(),
        "seed": seed + 1,  # KerasTuner takes 0 for none
        "max_consecutive_failed_trials": None,  # it would raise inside a lock, and leave it locked
    }
    if tuner == "hyperband":
        # Sweep after sweep, until the budget is spent.
        oracle: SearchOracle = _Hyperband(max_epochs=epochs, hyperband_iterations=10**6, **options)
    else:
        kind = _Random if tuner == "random" else _Bayesian
        oracle = kind(max_trials=_MOST_TRIALS, **options)
    oracle.max_trials = _MOST_TRIALS
    oracle.space, oracle.budget, oracle.first = space, budget, first or {}
    oracle.patience, oracle.is_chief = patience, is_chief
    return oracle


def mend_keras_tuner() -> None:
    """Has KerasTuner replace its files instead of rewriting them, and print no tracebacks of failed trials."""

    def save_json(path: str, value: Any) -> str:
        text = json.dumps(value)
        write_atomically(path, text)
        return text

    # Half a file, which a kill could leave, would end the search for good.
    keras_tuner_utils.save_json = save_json
    keras_tuner_config.DEBUG = False
