"""Measures the library: python bin/benchmark.py --suite=input|step|deploy --output=FILE.json

Prints what was found and writes it to FILE.json with its spread, the hardware, the versions and the
commit. Suites: input = the time to draw tasks, as a share of the meta-step that uses them; step =
the meta-step beside plain training and, with --pytorch=PYTHON, beside PyTorch, its memory, and how
its cost grows (FILE_growth.png); deploy = how long exported models take to learn a task and to
answer, on one core, with --pytorch=PYTHON beside PyTorch. Measure on an idle machine;
`benchmarks/README.md` says what was found where.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

from launch import flags, launch

FLAGS = flags.FLAGS
GROUPS = ("benchmark",)


def main() -> int:
    """Runs the suite and writes its result."""
    path = _output()
    _check_pytorch()
    suite, result = {"input": _input, "step": _step, "deploy": _deploy}[FLAGS.suite](path)
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"suite": FLAGS.suite} | result, file, indent=2)
        file.write("\n")
    print(suite.sentence(result))
    return flags.EXIT_DONE


def _input(path: str) -> tuple[ModuleType, dict[str, Any]]:
    from benchmarks import input_share

    return input_share, input_share.measure()


def _step(path: str) -> tuple[ModuleType, dict[str, Any]]:
    from benchmarks import step_cost

    picture = Path(path).with_name(Path(path).stem + "_growth.png")
    return step_cost, step_cost.measure(pytorch=FLAGS.pytorch, growth_png=picture)


def _deploy(path: str) -> tuple[ModuleType, dict[str, Any]]:
    from benchmarks import deploy_latency

    return deploy_latency, deploy_latency.measure(pytorch=FLAGS.pytorch)


def _output() -> str:
    """The file to write, found fit before anything is measured."""
    path = FLAGS.output
    if not path or os.path.isdir(path) or not os.path.isdir(os.path.dirname(path) or "."):
        raise flags.InputError(
            f"--output: expected a file in a directory that exists, received {path or 'none'}."
        )
    return path


def _check_pytorch() -> None:
    """Refuses, before anything is measured, an interpreter that cannot do it."""
    if FLAGS.pytorch is None:
        return
    try:
        command = [FLAGS.pytorch, "-c", "import torch, higher"]
        subprocess.run(command, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        raise flags.InputError(
            f"--pytorch={FLAGS.pytorch}: expected a Python interpreter with PyTorch and higher; make "
            "one with: python -m venv DIR && DIR/bin/pip install -r benchmarks/requirements.txt"
        ) from None


if __name__ == "__main__":
    launch(main, title=__doc__, groups=GROUPS)
