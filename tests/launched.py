"""Starts a small binary by bin/launch.py, in a process of its own as flags are global; without TensorFlow."""

import subprocess
import sys


def launched(repository, *arguments, code="flags.settings(GROUPS)", goes_on="None"):
    """Starts a binary that prints `code`'s value as JSON; returns (exit code, output, error)."""
    program = f"""
import json, sys
sys.path.insert(0, "bin")
from launch import flags, launch
import launch as module
module._import_tensorflow = lambda: None
GROUPS = ("data", "learner", "outer_loop", "run")
def main():
    print(json.dumps({code}))
launch(main, title="A title.", groups=GROUPS, goes_on={goes_on})
"""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


def refusal(repository, argument):
    """The one line that a bad argument is answered with."""
    code, output, error = launched(repository, argument)
    assert code == 2
    assert output == ""
    assert len(error.strip().splitlines()) == 1
    return error
