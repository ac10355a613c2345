"""Measures the library; the measurements are in benchmarks/ of the clone."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from anil_tf.config import Benchmark, InputError

_SUITES = {
    "input": "benchmarks.input_share",
    "step": "benchmarks.step_cost",
    "deploy": "benchmarks.deploy_latency",
}


def benchmark(config: Benchmark) -> None:
    """Runs a suite, prints what was found and writes it as JSON.

    Args:
        config: the suite, and where its result goes.

    Raises:
        InputError: for a file that cannot be written, an interpreter without PyTorch, or outside of the clone.
    """
    path = _output(config)
    _check_pytorch(config)
    suite = _suite(config)
    options: dict[str, Any] = {}
    if config.suite != "input":
        options["pytorch"] = config.pytorch
    if config.suite == "step":
        options["growth_png"] = path.with_name(f"{path.stem}_growth.png")
    result = suite.measure(**options)
    path.write_text(json.dumps({"suite": config.suite} | result, indent=2) + "\n", encoding="utf-8")
    print(suite.sentence(result))


def _suite(config: Benchmark) -> Any:
    try:
        return importlib.import_module(_SUITES[config.suite])
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("benchmarks"):
            raise
        raise InputError(
            "the measurements are not installed with the package; run python bin/benchmark.py in a clone of "
            "the project."
        ) from None


def _output(config: Benchmark) -> Path:
    """The file to write, found fit before anything is measured."""
    path = config.output
    if not path or os.path.isdir(path) or not os.path.isdir(os.path.dirname(path) or "."):
        raise InputError(
            f"--output: expected a file in a directory that exists, received {path or 'none'}."
        )
    return Path(path)


def _check_pytorch(config: Benchmark) -> None:
    """Refuses, before anything is measured, an interpreter that cannot do it."""
    if config.pytorch is None:
        return
    try:
        command = [config.pytorch, "-c", "import torch, higher"]
        subprocess.run(command, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        raise config.error(
            "expected a Python interpreter with PyTorch and higher; make one with: python -m venv DIR && DIR/bin/pip "
            "install -r benchmarks/requirements.txt",
            "pytorch",
        ) from None
