"""One function of fixed shapes as a program of StableHLO, which whoever has XLA can run.

TensorFlow traces the function and hands it to XLA's front end. Parameters of the program are the arguments, then what
the function refers to besides: variables. Its results are what the function returns, then the new value of each
variable that it changes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled function.

    Attributes:
        text: StableHLO, in MLIR's text form.
        arguments: what it takes first, by name; the values are examples.
        variables: what it takes after that, tensors of the graph's own or `tf.Variable`s.
        updated: for each result after the first, which is the function's own, the position of the variable that it is
            the new value of.
    """

    text: str
    arguments: Mapping[str, np.ndarray]
    variables: tuple[tf.Variable | tf.Tensor, ...]
    updated: tuple[int, ...]


def compile_program(
    function: Callable[..., tf.Tensor], arguments: Mapping[str, np.ndarray]
) -> Program:
    """Compiles a function of tensors that returns one.

    Products and convolutions are marked to be computed in full float32, which devices with TensorFloat-32 would
    otherwise not do.

    Args:
        function: takes the arguments in their order; it is traced, and not run.
        arguments: by name, of the shapes and types that the program is to take.

    Raises:
        ValueError: when a value of an argument would have to be known at compile time.
    """
    compiled = tf.function(function, jit_compile=True, autograph=False)
    values = [tf.constant(value) for value in arguments.values()]
    with _full_float32():
        concrete = compiled.get_concrete_function(*values)
        text = compiled.experimental_get_compiler_ir(*values)(stage="stablehlo")
    by_handle = {id(variable.handle): variable for variable in concrete.variables}
    captured = tuple(by_handle.get(id(handle), handle) for handle in concrete.captured_inputs)
    _check_parameters(text, len(arguments) + len(captured))
    return Program(
        text=_without_copies(text),
        arguments=dict(arguments),
        variables=captured,
        updated=_updated(text, arguments=len(arguments)),
    )


@contextlib.contextmanager
def _full_float32() -> Iterator[None]:
    """Leaves no choice of precision to the device: XLA's default may be TensorFloat-32."""
    precision = tf.config.experimental
    before = precision.tensor_float_32_execution_enabled()
    precision.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        precision.enable_tensor_float_32_execution(before)


def _without_copies(text: str) -> str:
    """The program with `mhlo.copy`, which is no StableHLO, as a reshape to the same shape."""
    text = re.sub(r"mhlo\.copy (%\w+) : (\S+)", r"stablehlo.reshape \1 : (\2) -> \2", text)
    foreign = sorted(set(re.findall(r"\bmhlo\.\w+(?= %)", text)))
    if foreign:
        raise ValueError(f"The compiled program has operations that are not StableHLO: {foreign}.")
    return text


def _updated(text: str, *, arguments: int) -> tuple[int, ...]:
    """The variables that the results after the first are new values of.

    The program notes on itself which parameter each result may overwrite: the variable's own.
    """
    alias = r"parameter_number = (\d+) : i64\}, output_index = array<i64: (\d+)>"
    updates = {int(output): int(parameter) for parameter, output in re.findall(alias, text)}
    return tuple(updates[i + 1] - arguments for i in range(len(updates)))


def _check_parameters(text: str, expected: int) -> None:
    """Refuses a program that lacks parameters, because values went into it as constants."""
    signature = text.partition("func.func @main(")[2].partition(") -> ")[0]
    received = signature.count("%arg")
    if received != expected:
        raise ValueError(
            f"The compiled program has {received} parameters; expected were {expected}, arguments and variables. Some "
            "operation needs to know the others when it is compiled, for the shape of its result."
        )
