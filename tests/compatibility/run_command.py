"""The one place where these tests start a command: in this process."""

from __future__ import annotations

import contextlib
import io
import signal
import sys
from typing import NamedTuple
from unittest import mock

from anil_tf.commands.launcher import launch


class Ended(NamedTuple):
    """A command that has ended."""

    code: int
    output: str
    error: str


def run_command(argv: list[str]) -> Ended:
    """Runs a command to its end.

    Args:
      argv: its name and its flags, such as ["train", "--run_dir=DIR"].

    Returns:
      Its exit code, and all that it has written.
    """
    name, *flags = argv
    output, error = io.StringIO(), io.StringIO()
    before = signal.getsignal(signal.SIGTERM)
    try:
        with (
            mock.patch.object(sys, "argv", [f"bin/{name}.py", *flags]),
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(error),
        ):
            code = launch(name, flags)
    finally:
        signal.signal(signal.SIGTERM, before)
    return Ended(code, output.getvalue(), error.getvalue())
