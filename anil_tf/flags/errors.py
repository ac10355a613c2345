"""What went wrong, in one line that names the flag; and the exit codes of every binary.

`InputError` is raised for bad input; `blamed_on` makes one of any ValueError; `explain` words what
absl raises while it parses.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from absl import flags as absl_flags
from absl.flags import FLAGS

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_STOPPED = 75


class InputError(ValueError):
    """Bad flags or bad input: said in one line, exit code 2."""


def explain(error: absl_flags.Error) -> str:
    """One line for an absl flag error: the flag, what was received, what is accepted.

    Args:
      error: what absl raised while it parsed the command line.

    Returns:
      A single line.
    """
    text = " ".join(str(error).split())
    if isinstance(error, absl_flags.UnrecognizedFlagError):
        shown = f"--{error.flagname}" if error.flagname else "a flag"
        accepted = "--help lists the flags of this binary."
        if "Did you mean" in text:
            accepted = "did you mean --" + text.split("Did you mean: ")[1].split(" ?")[0] + "?"
        return f"{shown}: unknown flag; {accepted}"
    if isinstance(error, absl_flags.CantOpenFlagFileError):
        return f"--flagfile: expected a readable file; {text.removeprefix('ERROR:: ')}"
    if text.startswith("Missing value for flag "):
        return f"{text.removeprefix('Missing value for flag ')}: expected a value, received none."
    return text.removeprefix("flag ")


@contextlib.contextmanager
def blamed_on(*names: str) -> Iterator[None]:
    """Turns a ValueError raised inside into an `InputError` that names these flags.

    Args:
      *names: the flags that the enclosed code builds its objects from.

    Raises:
      InputError: for any ValueError, in one line.

    Example:
      with blamed_on("dataset"):
        raise ValueError("unknown")      # InputError: --dataset=glyphs: unknown
    """
    try:
        yield
    except InputError:
        raise
    except ValueError as error:
        # Nothing to add where the message already names the flag.
        text = " ".join(str(error).split())
        if any(f"--{name}" in text for name in names):
            raise InputError(text) from error
        received = " ".join(FLAGS[name].serialize() or f"--{name}" for name in names)
        raise InputError(f"{received}: {text}") from error
