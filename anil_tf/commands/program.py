"""How a user calls the commands: as `anil_tf NAME`, or in a clone as python bin/NAME.py."""

from __future__ import annotations

import os
import shlex
import sys


def command(name: str) -> str:
    """What a user types to start a command, without its flags: the way in which this process was started."""
    return f"python bin/{name}.py" if _is_a_file() else f"anil_tf {name}"


def name_in_errors(name: str) -> str:
    """What an error of a command begins with."""
    return f"{name}.py" if _is_a_file() else f"anil_tf {name}"


def _is_a_file() -> bool:
    return sys.argv[0].endswith(".py")


def shown(path: str | os.PathLike[str]) -> str:
    """A path as it is shown in a command: relative to the working directory, and quoted for a shell."""
    return shlex.quote(os.path.relpath(path))
