"""Starts a command from a command line: `anil_tf NAME FLAGS`, or python bin/NAME.py FLAGS.

Exit codes: 0 done, 1 a run-time failure, 2 bad flags or input, 75 stopped by a signal. Each but the first comes with
one line on standard error; `--verbosity=1` adds the traceback. TensorFlow is imported once the flags are found good.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from logging import LogRecord
from types import ModuleType
from typing import Any

from anil_tf.commands import program
from anil_tf.config import flags
from anil_tf.config.commands import COMMANDS
from anil_tf.config.errors import (
    EXIT_BAD_INPUT,
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_STOPPED,
    InputError,
)

_HELP = {"--help", "-help", "-h", "-?", "--helpfull", "-helpfull", "--helpshort"}
# What TensorFlow says on standard error when it is imported, whatever its log level.
_NOISE = ("All log messages before absl::InitializeLog()", "oneDNN custom operations are on")
# Said whenever a SavedModel is loaded whose training had gradients of its own; what is loaded is only called.
_SAID_OF_EVERY_EXPORT = "with ops with unsaved custom gradients"
_LONGEST_LINE = 600


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script `anil_tf`: the first argument names the command.

    Args:
        arguments: without the name of the program; those of the process by default.

    Returns:
        An exit code.
    """
    name, *rest = (sys.argv[1:] if arguments is None else list(arguments)) or ["--help"]
    if name in _HELP or name == "help":
        print(_overview())
        return EXIT_DONE
    if name not in COMMANDS:
        text = f"anil_tf {name}: expected one of {', '.join(COMMANDS)}."
        print(text, file=sys.stderr)
        return EXIT_BAD_INPUT
    return launch(name, rest)


def launch(name: str, arguments: Sequence[str] | None = None) -> int:
    """Reads the flags of a command and runs it.

    Args:
        name: of the command, such as "train".
        arguments: its flags; those of the process by default.

    Returns:
        An exit code.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if _HELP.intersection(arguments):
        if hasattr(signal, "SIGPIPE"):
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `--help | head` ends quietly
        print(flags.usage(COMMANDS[name], program.command(name)))
        return EXIT_DONE
    try:
        command = flags.read_command_line(COMMANDS[name], arguments)
    except InputError as error:
        return _fail(name, error.on_command_line(), EXIT_BAD_INPUT)
    signal.signal(signal.SIGTERM, _interrupt)
    _set_environment()
    return run(name, command)


def run(name: str, command: flags.Command) -> int:
    """Runs a command whose flags are read, and maps what it raises to exit codes.

    Args:
        name: of the command.
        command: its config.

    Returns:
        An exit code.
    """
    module: ModuleType | None = None
    try:
        with _quiet_libraries(command.verbosity):
            module = importlib.import_module(f"anil_tf.commands.{name}")
        return getattr(module, name)(command.config) or EXIT_DONE
    except KeyboardInterrupt:
        return _stopped(name, "stopped by a signal.", module, command)
    except InputError as error:
        return _fail(name, error.on_command_line(), EXIT_BAD_INPUT, command.verbosity)
    except Exception as error:  # the last resort: a user sees one line, never a traceback
        if getattr(error, "exit_code", EXIT_FAILED) == EXIT_STOPPED:
            return _stopped(name, str(error), module, command)
        text = str(error) or type(error).__name__
        return _fail(name, text, EXIT_FAILED, command.verbosity)


def _overview() -> str:
    lines = ["ANIL meta-learning: anil_tf COMMAND FLAGS. Each command has --help.", ""]
    for name, options in COMMANDS.items():
        summary = (options.__doc__ or "").partition(":")[0]
        lines.append(f"  {name:<10} {summary}")
    return "\n".join([*lines, "", f"Presets (--preset=NAME): {', '.join(flags.preset_names())}"])


def _set_environment() -> None:
    """What TensorFlow reads when it is imported; what a user has set stays."""
    # What goes wrong for real reaches Python as an exception; the log of its kernels is noise to a user.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    if "KERASTUNER_ORACLE_IP" in os.environ:  # workers of a search may share one accelerator
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")


def _interrupt(signal_number: int, frame: object) -> None:
    raise KeyboardInterrupt


@contextlib.contextmanager
def _quiet_libraries(verbosity: int) -> Iterator[None]:
    """Lets libraries say only what is asked for, from their import inside on."""
    from absl import logging

    logging.use_absl_handler()
    logging.set_verbosity(verbosity if verbosity >= 1 else logging.WARNING)
    if verbosity < 1:
        logging.get_absl_logger().addFilter(_is_news)
    if importlib.util.find_spec("tensorflow"):
        is_new = "tensorflow" not in sys.modules
        with _without_noise() if is_new else contextlib.nullcontext():
            import tensorflow
        tensorflow.get_logger().setLevel("INFO" if verbosity >= 1 else "ERROR")
    yield


def _is_news(record: LogRecord) -> bool:
    return _SAID_OF_EVERY_EXPORT not in record.getMessage()


@contextlib.contextmanager
def _without_noise() -> Iterator[None]:
    """Keeps back the lines on standard error that no log level silences; others are passed on."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as heard:
        standard_error = os.dup(2)
        os.dup2(heard.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(standard_error, 2)
            os.close(standard_error)
            heard.seek(0)
            said = [line for line in heard if not any(noise in line for noise in _NOISE)]
            sys.stderr.write("".join(said))


def _stopped(name: str, text: str, module: ModuleType | None, command: flags.Command) -> int:
    how_to_go_on: Any = getattr(module, "how_to_go_on", None)
    if how_to_go_on is None:
        return _fail(name, text, EXIT_FAILED, command.verbosity)
    return _fail(name, f"{text} {how_to_go_on(command.config)}", EXIT_STOPPED, command.verbosity)


def _fail(name: str, text: str, code: int, verbosity: int = 0) -> int:
    """Prints one line (and the traceback under --verbosity=1) and returns the exit code."""
    if verbosity >= 1 and sys.exc_info()[0]:
        traceback.print_exc()
    text = " ".join(text.split())
    if len(text) > _LONGEST_LINE:
        text = text[: _LONGEST_LINE - 4] + " ..."
    print(f"{program.name_in_errors(name)}: {text}", file=sys.stderr)
    return code
