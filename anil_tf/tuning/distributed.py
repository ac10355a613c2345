"""Chief and workers: who is who, and how long they wait for each other.

KerasTuner's way: one process, the chief, holds the oracle; any number of workers ask it for trials over gRPC. Each is
told by its environment,

    KERASTUNER_TUNER_ID      a name of its own; "chief" in it makes the chief
    KERASTUNER_ORACLE_IP     the address that the chief listens on
    KERASTUNER_ORACLE_PORT   and its port

and without them a process searches alone. A worker that was killed goes on with its trial when it is started again
under its name. KerasTuner itself waits for ever for one that does not come; here, not longer than a time-out.
"""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from anil_tf.tuning.oracles import SearchOracle

_NAME, _IP, _PORT = "KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT"
_LOOK_SECONDS = 0.2
_MOST_SECONDS_BETWEEN_SIGNS = 10.0


class TimedOut(RuntimeError):
    """The other side did not come, or went away."""


@dataclasses.dataclass(frozen=True)
class Role:
    """What this process is, its name among the tuners, and HOST:PORT of the chief ("" when alone)."""

    kind: Literal["alone", "chief", "worker"]
    name: str
    address: str = ""

    @property
    def writes(self) -> bool:
        """Whether this process writes what is common to all."""
        return self.kind != "worker"


def role(environment: Mapping[str, str]) -> Role:
    """Reads the role of this process from its environment variables.

    Raises:
        ValueError: naming the variable that is missing or wrong.
    """
    given = {name: environment[name] for name in (_IP, _PORT, _NAME) if name in environment}
    is_alone = set(given) <= {_NAME}
    for name in given if is_alone else (_IP, _PORT, _NAME):
        if not given.get(name):
            beside = ", ".join(f"{other}={value}" for other, value in given.items() if value)
            raise ValueError(
                f"{name}: expected a value{beside and f' beside {beside}'}, received none."
            )
    if is_alone:
        return Role("alone", given.get(_NAME, "tuner0"))
    port = environment[_PORT]
    if not (port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError(f"{_PORT}={port}: expected a port, 1 to 65535.")
    name = environment[_NAME]
    return Role("chief" if "chief" in name else "worker", name, f"{environment[_IP]}:{port}")


# ---- The worker's side -----------------------------------------------------------------------------------------------


def find_chief(address: str, seconds: float) -> None:
    """Waits for the chief at HOST:PORT, so many seconds at most; later calls to it wait no longer either.

    Raises:
        TimedOut: when it does not answer.
    """
    import grpc
    from keras_tuner.src.distribute import oracle_client

    oracle_client.TIMEOUT = (
        seconds  # there is no public way: an hour, in the place of --chief_timeout
    )
    with grpc.insecure_channel(address) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=seconds)
        except grpc.FutureTimeoutError:
            raise TimedOut(
                f"no chief answered at {address} within {seconds:g} s (--chief_timeout). Start one with the same "
                f"flags and {_NAME}=chief."
            ) from None


@contextlib.contextmanager
def chief_needed(address: str) -> Iterator[None]:
    """Says in one line that the chief has gone away inside."""
    import grpc

    try:
        yield
    except grpc.RpcError as error:
        code = error.code().name if hasattr(error, "code") else type(error).__name__
        raise TimedOut(
            f"the chief at {address} does not answer any more ({code}). Start it again; this worker's trial then goes "
            "on with the same command."
        ) from None


@contextlib.contextmanager
def signs_of_life(oracle: Any, trial_id: str, timeout: float) -> Iterator[Callable[[], None]]:
    """Asks the chief for the trial now and then while it makes steps, so that the chief hears of this worker.

    A trial that hangs falls silent: the chief then gives it to another worker, or ends.

    Args:
        oracle: KerasTuner's client of the chief's oracle.
        trial_id: the trial that runs.
        timeout: seconds without a step after which no further sign is given.

    Yields:
        What is to be called after each step of the trial.
    """
    ended = threading.Event()
    last_step = time.monotonic()

    def on_step() -> None:
        nonlocal last_step
        last_step = time.monotonic()

    def send() -> None:
        while not ended.wait(min(timeout / 4, _MOST_SECONDS_BETWEEN_SIGNS)):
            if time.monotonic() - last_step <= timeout:
                with contextlib.suppress(Exception):  # the next call of the trial itself will tell
                    oracle.get_trial(trial_id)

    threading.Thread(target=send, name=f"signs of life of {trial_id}", daemon=True).start()
    try:
        yield on_step
    finally:
        ended.set()


# ---- The chief's side ------------------------------------------------------------------------------------------------


def claim(address: str) -> None:
    """Refuses a HOST:PORT that somebody listens on: gRPC would share it, and workers would meet either.

    Raises:
        OSError: where this process cannot listen there alone.
    """
    host, _, port = address.rpartition(":")
    try:
        socket.create_server((host, int(port))).close()
    except OSError as error:
        raise OSError(
            f"the chief cannot listen at {address} ({error.strerror}). Choose another {_IP} or {_PORT}, or end what "
            "listens there, perhaps an earlier chief."
        ) from error


def serve(
    start: Callable[[], None],
    oracle: SearchOracle,
    *,
    timeout: float,
    on_change: Callable[[], None],
) -> None:
    """Serves workers until the search is over.

    Args:
        start: KerasTuner's server; it runs in a thread, as it may never return.
        oracle: what it serves.
        timeout: seconds without a sign of life after which to give up.
        on_change: called when trials have begun or ended.

    Raises:
        TimedOut: when no worker is heard of.
    """
    failures: list[BaseException] = []

    def run() -> None:
        try:
            start()
        except BaseException as error:  # it belongs to the thread that waits
            failures.append(error)

    since = time.monotonic()
    threading.Thread(target=run, daemon=True).start()
    seen: list[tuple[str, str]] = []
    while True:
        time.sleep(_LOOK_SECONDS)
        if failures:
            raise failures[0]
        now = [(name, trial.status) for name, trial in list(oracle.trials.items())]
        if now != seen:
            on_change()
        seen = now
        if oracle.is_over and not oracle.tuner_ids:
            return
        if time.monotonic() - max([since, *oracle.heard.values()]) > timeout:
            if oracle.is_over:  # whoever is missed has nothing left to do
                return
            raise TimedOut(_who_is_missing(oracle, timeout))


def _who_is_missing(oracle: SearchOracle, timeout: float) -> str:
    waited = f"{timeout:g} s (--chief_timeout)"
    if not oracle.heard:
        return (
            f"no worker came within {waited}. Start workers with the same flags and address, each with a {_NAME} of "
            "its own."
        )
    held = ", ".join(f"{name} with trial {t.trial_id}" for name, t in oracle.ongoing_trials.items())
    return (
        f"no worker was heard of for {waited}; missing: {held or ', '.join(sorted(oracle.heard))}. Start chief and "
        "workers again with the same commands."
    )
