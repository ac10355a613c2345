"""Trial after trial: KerasTuner's search with a trial of ours, alone, as chief or as worker."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import pathlib
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras_tuner
from keras_tuner.engine import base_tuner

from anil_tf.tuning import distributed, oracles
from anil_tf.tuning.distributed import Role
from anil_tf.tuning.objective import Score
from anil_tf.tuning.oracles import SearchOracle
from anil_tf.tuning.search_space import Value

_IDLE_SECONDS = 0.5  # between questions of a worker for which there is no trial at the moment


@dataclasses.dataclass(frozen=True)
class Trial:
    """What is to be tried.

    Attributes:
        name: of the trial, four digits.
        values: of the settings that are searched.
        epochs: how many to train, where the tuner says so (Hyperband), else None.
        goes_on_from: the shorter trial of the same setting that it goes on from, or None.
        moved: to be called after each step; a worker whose trial does not move for too long counts as lost.
    """

    name: str
    values: Mapping[str, Value]
    epochs: int | None = None
    goes_on_from: str | None = None
    moved: Callable[[], None] = dataclasses.field(default=lambda: None, compare=False, repr=False)


class _Passed(keras_tuner.errors.FatalError):
    """Carries an error out of a trial that KerasTuner would else count as a failed one."""

    def __init__(self, error: Exception):
        super().__init__(str(error))
        self.error = error


@contextlib.contextmanager
def _unpacked() -> Iterator[None]:
    try:
        yield
    except _Passed as passed:
        raise passed.error from None


class _Tuner(base_tuner.BaseTuner):
    """KerasTuner's loop over trials, around `run`."""

    def __init__(
        self,
        oracle: SearchOracle,
        run: Callable[[Trial], Score],
        *,
        directory: pathlib.Path,
        role: Role,
        timeout: float,
        ends_the_search: tuple[type[Exception], ...],
        on_change: Callable[[], None],
    ):
        self._run, self._role, self._timeout = run, role, timeout
        self._ends_the_search, self._on_change = ends_the_search, on_change
        self._space = oracle.space
        self._idle = False
        with contextlib.redirect_stdout(io.StringIO()):  # it prints that it goes on
            super().__init__(oracle, directory=str(directory.parent), project_name=directory.name)
        if role.writes:
            self.save()  # else KerasTuner would not know after a kill that there is a search

    def _get_tuner_fname(self) -> str:
        """The file by which KerasTuner knows that there is a search; one, so that a chief goes on alone and back."""
        name = "tuner" if self._role.writes else self._role.name
        return str(pathlib.Path(self.project_dir) / f"{name}.json")

    def pre_create_trial(self) -> None:
        """Keeps a worker from asking without a pause while there is nothing to do."""
        if self._idle:
            time.sleep(_IDLE_SECONDS)
        self._idle = True

    def on_trial_begin(self, trial: Any) -> None:
        """Tells whoever shows the trials."""
        self._idle = False
        self._on_change()

    def on_trial_end(self, trial: Any) -> None:
        """Tells whoever shows the trials."""
        super().on_trial_end(trial)
        self._on_change()

    def run_trial(self, trial: Any) -> dict[str, float]:
        """Runs a trial."""
        wanted = _trial(trial, self._space.plain(trial.hyperparameters.values))
        try:
            if self._role.kind != "worker":
                return self._run(wanted).metrics()
            with distributed.signs_of_life(self.oracle, trial.trial_id, self._timeout) as moved:
                return self._run(dataclasses.replace(wanted, moved=moved)).metrics()
        except self._ends_the_search as error:
            raise _Passed(error) from error
        except Exception as error:
            said = " ".join(str(error).split()) or type(error).__name__
            (pathlib.Path(self.get_trial_dir(trial.trial_id)) / "failed.txt").write_text(
                traceback.format_exc(), encoding="utf-8"
            )
            print(f"Trial {trial.trial_id} failed: {said[:300]}", file=sys.stderr, flush=True)
            raise keras_tuner.errors.FailedTrialError(said) from error

    def _run_and_update_trial(self, trial: Any, *arguments: Any, **options: Any) -> None:
        """As KerasTuner does, but that a trial whose chief is away has not failed: it is finished, and waits."""
        import grpc

        try:
            super()._run_and_update_trial(trial, *arguments, **options)
        except grpc.RpcError as error:
            raise _Passed(error) from error


def _trial(trial: Any, values: dict[str, Value]) -> Trial:
    beside = trial.hyperparameters.values
    return Trial(trial.trial_id, values, beside.get("tuner/epochs"), beside.get("tuner/trial_id"))


def search(
    oracle: SearchOracle,
    run: Callable[[Trial], Score],
    *,
    directory: pathlib.Path,
    role: Role,
    timeout: float = 300.0,
    ends_the_search: Sequence[type[Exception]] = (),
    on_change: Callable[[], None] = lambda: None,
) -> None:
    """Searches until the budget is spent; a search that is in the directory goes on.

    Args:
        oracle: from `oracles.make`.
        run: from what is to be tried to its score. It may be called again with a trial that was begun in another
            process, and should go on with it then. What it raises makes a failed trial.
        directory: KerasTuner's files; shared by chief and workers.
        role: of this process, from `distributed.role`.
        timeout: seconds without a sign of life after which chief and workers give each other up.
        ends_the_search: errors of `run` that end the search instead.
        on_change: called when trials have begun or ended.

    Raises:
        TimedOut: in a chief or worker that was left alone.
        OSError: in a chief that cannot listen at its address.
        RuntimeError: after three failed trials in a row.
    """
    oracles.mend_keras_tuner()
    if role.kind == "worker":
        distributed.find_chief(role.address, timeout)
    elif role.kind == "chief":
        distributed.claim(role.address)
    tuner = _Tuner(
        oracle,
        run,
        directory=directory,
        role=role,
        timeout=timeout,
        ends_the_search=tuple(ends_the_search),
        on_change=on_change,
    )
    try:
        if role.kind == "alone":
            with _unpacked():
                tuner.search()
        elif role.kind == "worker":
            with distributed.chief_needed(role.address), _unpacked():
                tuner.search()
        elif not oracle.is_over:
            distributed.serve(tuner.search, oracle, timeout=timeout, on_change=on_change)
    finally:
        if role.kind == "alone":
            oracle.save()  # the time spent
    if oracle.failed_in_a_row >= oracles.MOST_FAILURES:
        raise RuntimeError(
            f"the last {oracle.failed_in_a_row} trials failed; {directory}/trial_*/failed.txt say why."
        )
