"""An exported meta-step on disk: the program, what it takes, and the losses that it must give.

`export_step.py` writes such a directory where TensorFlow is; `run_step.py` and `pytorch_gpu.py` read it where it is
not, so nothing but NumPy is needed here. A directory holds

    step.stablehlo   the meta-step, compiled for static shapes
    inputs.npz       the batch and the variables, in the order of the program's parameters
    meta.json        `Facts`, below
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np

# How convolutions and products of matrices are computed (float32 has 23 bits of mantissa, TensorFloat-32 has 10,
# bfloat16 has 7), and how far the losses may be from those of TensorFlow on a CPU: the first loss, and those after it.
# After an update they differ by more than rounding: of 9 million inputs of ReLUs a few are so near to zero that they
# pass on one machine and not on the other, which moves gradients by up to 1 %.
TOLERANCES = {"float32": (2e-5, 2e-3), "tensorfloat32": (1e-2, 2e-2), "bfloat16": (2e-2, 5e-2)}
PRECISIONS = tuple(TOLERANCES)
LOSS = "loss"


@dataclasses.dataclass(frozen=True)
class Facts:
    """What is known of an exported meta-step.

    Attributes:
        precision: one of `PRECISIONS`.
        settings: tasks, shots, ways, inner_steps, filters and so on.
        arguments: names of the arguments of the step, its first parameters.
        variables: names of the variables, the parameters after them.
        outputs: for each output of the program, "loss" or the position of the variable that it updates.
        weights: positions of the network's weights: kernel, scale and offset of each block, then
            kernel and bias of the head.
        matrix_precision: how often each precision attribute stands in the program.
        losses: of the first meta-steps, by TensorFlow without XLA on a CPU.
        software: versions of what exported it.
        commit: of the library that the step was made with.
    """

    precision: str
    settings: dict[str, Any]
    arguments: list[str]
    variables: list[str]
    outputs: list[str | int]
    weights: list[int]
    matrix_precision: dict[str, int]
    losses: list[float]
    software: dict[str, str]
    commit: str


@dataclasses.dataclass(frozen=True)
class Exported:
    """An exported meta-step.

    Attributes:
        program: serialised StableHLO.
        arguments: the values of the arguments, in order.
        variables: the initial values of the variables, in order.
        facts: the rest.
    """

    program: bytes
    arguments: list[np.ndarray]
    variables: list[np.ndarray]
    facts: Facts


def save(step: Exported, directory: pathlib.Path) -> None:
    """Writes the step into `directory`, which is made."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "step.stablehlo").write_bytes(step.program)
    arrays = {f"argument_{i:04}": value for i, value in enumerate(step.arguments)}
    arrays |= {f"variable_{i:04}": value for i, value in enumerate(step.variables)}
    np.savez(directory / "inputs.npz", **arrays)
    text = json.dumps(dataclasses.asdict(step.facts), indent=2)
    (directory / "meta.json").write_text(text + "\n", encoding="utf-8")


def load(directory: pathlib.Path) -> Exported:
    """Reads what `save` wrote.

    Raises:
        SystemExit: when a file is missing, in one line.
    """
    try:
        facts = Facts(**json.loads((directory / "meta.json").read_text(encoding="utf-8")))
        program = (directory / "step.stablehlo").read_bytes()
        with np.load(directory / "inputs.npz") as arrays:
            arguments = [arrays[f"argument_{i:04}"] for i in range(len(facts.arguments))]
            variables = [arrays[f"variable_{i:04}"] for i in range(len(facts.variables))]
    except FileNotFoundError as error:
        raise SystemExit(
            f"Expected an exported meta-step in {directory}, but {error.filename} is missing. "
            "Write one by: python -m benchmarks.gpu.export_step"
        ) from None
    return Exported(program, arguments, variables, facts)
