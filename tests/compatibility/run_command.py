"""The one place where these tests start a command."""

from __future__ import annotations

import pathlib
import subprocess
import sys
from typing import NamedTuple

_ROOT = pathlib.Path(__file__).resolve().parents[2]


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
    done = subprocess.run(
        [sys.executable, str(_ROOT / "bin" / f"{name}.py"), *flags],
        capture_output=True,
        text=True,
        timeout=600,
    )
    return Ended(done.returncode, done.stdout, done.stderr)
