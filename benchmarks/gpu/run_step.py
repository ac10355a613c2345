"""Runs and times an exported meta-step in JAX, where no TensorFlow is.

    python -m benchmarks.gpu.run_step DIR/float32

The program is handed to XLA as it is: JAX contributes the compiler, the device and its memory. Its outputs become its
variables of the next step without leaving the device, and without a second copy: the program says itself which of its
parameters each output replaces. Exit status 1 when the losses are not those of TensorFlow on a CPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import jax
from jax.extend.backend import get_compile_options
from jax.interpreters import mlir
from jaxlib import xla_client

from benchmarks.gpu import exported, timing

Buffers = list[jax.Array]
Program = Callable[[Buffers], Buffers]


class MetaStep:
    """An exported meta-step on a device, with the state that it carries from step to step.

    Args:
        step: as `exported.load` returns it.
        device: where to compile and run.
    """

    def __init__(self, step: exported.Exported, device: jax.Device):
        self._program = compile_program(step.program, device)
        self._arguments = jax.device_put(step.arguments, device)
        self._variables = jax.device_put(step.variables, device)
        self._outputs = step.facts.outputs

    def __call__(self) -> jax.Array:
        """Takes a meta-step and returns its loss, which may still be on its way."""
        values = self._program([*self._arguments, *self._variables])
        for place, value in zip(self._outputs, values, strict=True):
            if place == exported.LOSS:
                loss = value
            else:
                self._variables[place] = value
        return loss


def compile_program(serialized: bytes, device: jax.Device) -> Program:
    """Compiles serialised StableHLO for one device.

    JAX has no public way to compile a program that it did not trace, hence the pinned version.
    """
    with mlir.make_ir_context():
        return device.client.compile_and_load(
            without_copies(serialized),
            executable_devices=xla_client.DeviceList((device,)),
            compile_options=get_compile_options(num_replicas=1, num_partitions=1),
        ).execute


def without_copies(serialized: bytes) -> mlir.ir.Module:
    """The program without `mhlo.copy`, which TensorFlow puts around what it returns.

    That operation is not StableHLO, and only StableHLO is certain to reach a device that is a plugin of JAX, as GPUs
    are. Call this in the context of JAX's intermediate representation.
    """
    copies = []

    def collect(operation: mlir.ir.Operation) -> mlir.ir.WalkResult:
        if operation.name == "mhlo.copy":
            copies.append(operation)
        return mlir.ir.WalkResult.ADVANCE

    module = mlir.ir.Module.parse(serialized)
    module.operation.walk(collect)
    for copy in copies:
        copy.results[0].replace_all_uses_with(copy.operands[0])
        copy.erase()
    return module


def main() -> int:
    flags = timing.parser(__doc__.splitlines()[0]).parse_args()
    jax.config.update("jax_enable_x64", True)  # Keras counts its steps in int64
    step = exported.load(flags.exported)
    try:
        device = jax.devices(flags.device)[0]
    except RuntimeError as error:
        raise SystemExit(
            f"--device={flags.device}: JAX has no such device here ({error})."
        ) from None

    start = time.perf_counter()
    meta_step = MetaStep(step, device)
    losses = [float(meta_step()) for _ in step.facts.losses]
    about = {
        "name": "StableHLO",
        "device": device.device_kind,
        "versions": {
            "jax": jax.__version__,
            "xla": " ".join(device.client.platform_version.split()),
        },
        "seconds_to_compile_and_check": time.perf_counter() - start,
    }

    def run(steps: int) -> None:
        for _ in range(steps):
            loss = meta_step()
        loss.block_until_ready()

    seconds = None
    if flags.repeats:
        seconds = timing.seconds_per_step(run, steps=flags.steps, repeats=flags.repeats)
    return timing.report(step.facts, losses, seconds, about)


if __name__ == "__main__":
    raise SystemExit(main())
