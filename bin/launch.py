"""Starts a binary: the import path, flags, signals and exit codes.

Exit codes: 0 done, 1 a run-time failure, 2 bad flags or input, 75 stopped by a signal. Each but
the first comes with one line on standard error; `--verbosity=1` adds the traceback.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from types import ModuleType

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, _ROOT)
# TensorFlow reads these when it is imported. What its kernels log is noise to a user: what goes
# wrong for real reaches Python as an exception.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # see anil_tf/__init__.py, which comes later

from absl import flags as absl_flags  # noqa: E402
from absl import logging  # noqa: E402  (it defines --verbosity)


def _flags_alone() -> ModuleType:
    """`anil_tf.flags` without its parent, which imports TensorFlow: seconds for a typing error."""
    if "anil_tf.flags" not in sys.modules:
        path = os.path.join(_ROOT, "anil_tf", "flags", "__init__.py")
        spec = importlib.util.spec_from_file_location("anil_tf.flags", path)
        sys.modules["anil_tf.flags"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["anil_tf.flags"])
    return sys.modules["anil_tf.flags"]


flags = _flags_alone()
_NOISE = ("All log messages before absl::InitializeLog()", "oneDNN custom operations are on")
# Said whenever a SavedModel is loaded whose training had gradients of its own; what is loaded is only called.
_SAID_OF_EVERY_EXPORT = "with ops with unsaved custom gradients"
_HELP = {"--help", "-help", "-h", "-?", "--helpfull", "-helpfull", "--helpshort"}


def launch(
    main: Callable[[], int | None],
    *,
    title: str,
    groups: Sequence[str],
    required: Sequence[str] = (),
    goes_on: Callable[[], str] | None = None,
    needs_tensorflow: bool = True,
) -> None:
    """Parses the flags, runs `main` and ends the process with its exit code.

    Args:
      main: takes nothing, reads `flags.FLAGS`, returns an exit code (None is 0).
      title: what the binary does and how it is called; the head of its help.
      groups: the groups of flags that it uses.
      required: flags that must have a value.
      goes_on: says how to go on after a signal; None where nothing is saved to go on from.
      needs_tensorflow: False for a binary that also runs where TensorFlow is not installed.
    """
    flags.define(*groups)
    if _HELP.intersection(sys.argv[1:]):
        if hasattr(signal, "SIGPIPE"):
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `--helpfull | head` ends quietly
        print(flags.usage(title, groups))
        sys.exit(flags.EXIT_DONE)
    _parse(sys.argv, required)
    signal.signal(signal.SIGTERM, _interrupt)
    sys.exit(_run(main, goes_on, needs_tensorflow))


def _parse(argv: Sequence[str], required: Sequence[str]) -> None:
    """Parses the command line; anything wrong with it ends the process in one line."""
    flags.FLAGS["verbosity"].using_default_value = True
    flags.FLAGS.set_default("verbosity", 0)
    try:
        left_over = flags.FLAGS(list(argv))[1:]
    except absl_flags.Error as error:
        sys.exit(_fail(flags.explain(error), flags.EXIT_BAD_INPUT))
    if left_over:
        text = f"{left_over[0]}: expected only flags; a flag is written --name=value."
        sys.exit(_fail(text, flags.EXIT_BAD_INPUT))
    for name in required:
        if not flags.FLAGS[name].value:
            accepted = flags.FLAGS[name].parser.syntactic_help
            text = f"--{name}: expected {accepted}, received none."
            sys.exit(_fail(text, flags.EXIT_BAD_INPUT))


def _interrupt(signal_number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _import_tensorflow() -> None:
    """Imports TensorFlow without the lines that no log level silences; others are passed on."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as heard:
        standard_error = os.dup(2)
        os.dup2(heard.fileno(), 2)
        try:
            import tensorflow  # noqa: F401
        finally:
            os.dup2(standard_error, 2)
            os.close(standard_error)
            heard.seek(0)
            said = [line for line in heard if not any(noise in line for noise in _NOISE)]
            sys.stderr.write("".join(said))
    tensorflow.get_logger().setLevel("INFO" if flags.FLAGS.verbosity >= 1 else "ERROR")


def _run(
    main: Callable[[], int | None], goes_on: Callable[[], str] | None, needs_tensorflow: bool
) -> int:
    # absl keeps its level in the flag itself, so what a user asked for is left as it is.
    if flags.FLAGS.verbosity < 1:
        logging.set_verbosity(logging.WARNING)
        logging.get_absl_logger().addFilter(
            lambda record: _SAID_OF_EVERY_EXPORT not in record.getMessage()
        )
    try:
        if needs_tensorflow or importlib.util.find_spec("tensorflow"):
            _import_tensorflow()
        return main() or flags.EXIT_DONE
    except KeyboardInterrupt:
        return _stopped("stopped by a signal.", goes_on)
    except flags.InputError as error:
        return _fail(str(error), flags.EXIT_BAD_INPUT)
    except Exception as error:  # the last resort: a user sees one line, never a traceback
        code = getattr(error, "exit_code", flags.EXIT_FAILED)
        if code == flags.EXIT_STOPPED:
            return _stopped(str(error), goes_on)
        return _fail(str(error) or type(error).__name__, code)


def _stopped(text: str, goes_on: Callable[[], str] | None) -> int:
    if goes_on is None:
        return _fail(text, flags.EXIT_FAILED)
    return _fail(f"{text} {goes_on()}", flags.EXIT_STOPPED)


def _fail(text: str, code: int) -> int:
    """Prints one line (and the traceback under --verbosity=1) and returns the exit code."""
    if flags.FLAGS.is_parsed() and flags.FLAGS.verbosity >= 1 and sys.exc_info()[0]:
        traceback.print_exc()
    name = os.path.basename(sys.argv[0])
    print(f"{name}: {_one_line(text)}", file=sys.stderr)
    return code


def _one_line(text: str, limit: int = 600) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 4] + " ..."
