"""Ctrl-C and SIGTERM: ask for a stop at the end of the meta-step, instead of breaking it."""

from __future__ import annotations

import signal
import threading
from types import TracebackType


class Stopped(Exception):
    """The run was asked to stop, and its state is saved."""

    exit_code = 75


class StopRequest:
    """Notes the first SIGINT or SIGTERM; a second one interrupts at once.

    A context manager: inside it the two signals set `requested`, outside they do what they did
    before. In a thread other than the main one, where Python allows no handlers, it notes nothing.

    Example:
      with StopRequest() as stop:
        while not stop.requested:
          step()
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, object] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, frame: object) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
