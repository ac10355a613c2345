"""Trial after trial: a search by KerasTuner's oracles, alone, as chief or as worker."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import pathlib
import sys
import time
import traceback
from collections.abc import Callable, Mapping

import keras_tuner
from keras_tuner.engine.trial import TrialStatus

from anil_tf.training import Stopped
from anil_tf.tuning import distributed, oracles, search_space
from anil_tf.tuning.distributed import Role
from anil_tf.tuning.oracles import SearchOracle
from anil_tf.tuning.score import Score
from anil_tf.tuning.search_space import Value

Signs = Callable[[str], contextlib.AbstractContextManager[Callable[[], None]]]
_IDLE_SECONDS = 0.5  # between questions of a worker for which there is no trial at the moment


@dataclasses.dataclass(frozen=True)
class Trial:
    """What is to be tried.

    Attributes:
        name: of the trial, four digits.
        values: of the settings that are searched.
        epochs: how many to train, where the tuner says so (Hyperband), else None.
        goes_on_from: the shorter trial of the same setting that it goes on from, or None.
        on_step: to be called after each step; a worker whose trial makes none for too long counts as lost.
    """

    name: str
    values: Mapping[str, Value]
    epochs: int | None = None
    goes_on_from: str | None = None
    on_step: Callable[[], None] = dataclasses.field(default=lambda: None, compare=False, repr=False)


class _Tuner(keras_tuner.engine.base_tuner.BaseTuner):
    """KerasTuner's directories, and its way between chief and workers. The oracle keeps all that is to be kept."""

    def save(self) -> None:
        """Writes nothing, so that a chief goes on with what a process alone began, and the other way round."""

    def reload(self) -> None:
        """Reads nothing."""


def search(
    oracle: SearchOracle,
    run: Callable[[Trial], Score],
    *,
    directory: pathlib.Path,
    role: Role,
    timeout: float = 300.0,
    on_change: Callable[[], None] = lambda: None,
) -> None:
    """Searches until the budget is spent; a search that is in the directory goes on.

    Args:
        oracle: from `oracles.make`.
        run: from what is to be tried to its score. It may be called again with a trial that was begun in another
            process, and should go on with it then. What it raises makes a failed trial; `Stopped` ends the search.
        directory: KerasTuner's files; shared by chief and workers.
        role: of this process, from `distributed.role`.
        timeout: seconds without a sign of life after which chief and workers give each other up.
        on_change: called when trials have begun or ended.

    Raises:
        TimedOut: in a chief or worker that was left alone.
        OSError: in a chief that cannot listen at its address.
        RuntimeError: after three failed trials in a row.
    """
    tuner = _Tuner(oracle, directory=str(directory.parent), project_name=directory.name)
    if role.writes and (directory / "oracle.json").exists():
        oracle.reload()
    if role.kind == "worker":
        with distributed.chief_needed(role.address):
            signs = functools.partial(distributed.signs_of_life, tuner.oracle, timeout=timeout)
            _run_trials(tuner, run, role.name, oracle.space, signs, on_change)
    elif role.kind == "chief":
        distributed.claim(role.address)
        if not oracle.is_over:
            distributed.serve(tuner.search, oracle, timeout=timeout, on_change=on_change)
    else:
        try:
            _run_trials(tuner, run, role.name, oracle.space, _no_signs, on_change)
        finally:
            oracle.save()  # the time spent
    if oracle.failed_in_a_row >= oracles.MOST_FAILURES:
        raise RuntimeError(
            f"the last {oracle.failed_in_a_row} trials failed; {directory}/trial_*/failed.txt say why."
        )


def _run_trials(
    tuner: _Tuner,
    run: Callable[[Trial], Score],
    name: str,
    space: keras_tuner.HyperParameters,
    signs_of_life: Signs,
    on_change: Callable[[], None],
) -> None:
    """KerasTuner's loop over trials; its own would count a trial as failed whose chief is away."""
    oracle = tuner.oracle  # in a worker the way to the chief's
    while (trial := oracle.create_trial(name)).status != TrialStatus.STOPPED:
        if trial.status == TrialStatus.IDLE:
            time.sleep(_IDLE_SECONDS)
            continue
        on_change()
        values = trial.hyperparameters.values
        kept = search_space.rounded(space, values)
        length, shorter = values.get("tuner/epochs"), values.get("tuner/trial_id")
        try:
            with signs_of_life(trial.trial_id) as on_step:
                score = run(Trial(trial.trial_id, kept, length, shorter, on_step))
        except Stopped:
            raise
        except Exception as error:
            _tell(error, trial.trial_id, tuner.get_trial_dir(trial.trial_id))
            trial.status = TrialStatus.FAILED
        else:
            oracle.update_trial(trial.trial_id, score.metrics())
            trial.status = TrialStatus.COMPLETED
        oracle.end_trial(trial)
        on_change()


def _no_signs(trial_id: str) -> contextlib.AbstractContextManager[Callable[[], None]]:
    return contextlib.nullcontext(lambda: None)


def _tell(error: Exception, name: str, folder: str) -> None:
    """Says that a trial failed, and keeps the traceback."""
    said = " ".join(str(error).split()) or type(error).__name__
    print(f"Trial {name} failed: {said[:300]}", file=sys.stderr, flush=True)
    pathlib.Path(folder, "failed.txt").write_text(traceback.format_exc(), encoding="utf-8")
