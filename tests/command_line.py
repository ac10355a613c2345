"""Commands as a user types them, started in this process, where TensorFlow need not start again."""

import contextlib
import io
import json
import re
import signal
import sys
from typing import NamedTuple
from unittest import mock

from anil_tf.commands import launcher


class Answer(NamedTuple):
    """What came of a command: its exit code, standard output and standard error."""

    code: int
    output: str
    error: str

    @property
    def result(self):
        """The JSON object in the last line of the output."""
        return json.loads(self.output.splitlines()[-1])


def start(name, *arguments, program="bin/{}.py"):
    """Starts a command, as python bin/NAME.py unless told otherwise."""
    output, error = io.StringIO(), io.StringIO()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with (
            mock.patch.object(sys, "argv", [program.format(name)]),
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(error),
        ):
            code = launcher.launch(name, [str(argument) for argument in arguments])
    finally:
        signal.signal(signal.SIGTERM, handler)
    return Answer(code, output.getvalue(), error.getvalue())


def succeed(name, *arguments):
    """Starts a command that ends well and has nothing to complain of."""
    answer = start(name, *arguments)
    assert (answer.code, answer.error) == (0, "")
    return answer


def refuse(said, name, *arguments):
    """Starts a command that refuses its input in one line, which matches a regular expression."""
    answer = start(name, *arguments)
    assert answer.code == 2, answer.error
    (line,) = answer.error.splitlines()
    assert line.startswith(f"{name}.py: ") and re.search(said, line), line
    return answer
