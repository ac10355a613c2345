"""Starts bin/demo.py as a user does."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def command(*flags):
    return [sys.executable, str(ROOT / "bin" / "demo.py"), *flags]


@contextlib.contextmanager
def started(export_dir, *flags, cwd=None, **environment):
    """The process and the address it printed, on a port of its own; ended as Ctrl-C ends it."""
    inherited = {
        name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"
    }
    process = subprocess.Popen(
        command(f"--export_dir={export_dir}", "--port=0", *flags),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env=inherited | environment,
    )
    try:
        line = process.stdout.readline()
        assert line.startswith("Open http://"), line + process.stderr.read()
        yield process, line.split()[1]
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        with contextlib.suppress(ValueError):  # a test may have read it to its end
            process.communicate(timeout=60)
