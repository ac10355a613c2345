"""Runs a StableHLO export by JAX, where no TensorFlow need be."""

from __future__ import annotations

import json
import os
import pathlib
import threading
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.extend.backend import get_compile_options
from jax.interpreters import mlir
from jaxlib import xla_client

from anil_tf.deploy.runtimes import Runtime


class Programs(Runtime):
    """The programs of a StableHLO export on JAX's first device, and the variables that they share.

    Args:
        export_dir: what bin/export.py wrote.
        programs: facts of each by name, as export.json holds them; None reads them there.

    Attributes:
        variables: the variables by name; `meta_step` puts new values in.

    Example:
        >>> model = Programs("runs/export")                                   # doctest: +SKIP
        >>> model.adapt_and_predict(support_images, support_labels, images)   # doctest: +SKIP
    """

    def __init__(
        self,
        export_dir: str | os.PathLike[str],
        programs: Mapping[str, Mapping[str, Any]] | None = None,
    ):
        directory = pathlib.Path(export_dir)
        if programs is None:
            info = json.loads((directory / "export.json").read_text(encoding="utf-8"))
            programs = info["facts"]["programs"]
        self._directory, self._facts = directory, programs
        self._device = jax.devices()[0]
        self._compiled: dict[str, Any] = {}
        self._one_at_a_time = threading.Lock()
        with np.load(directory / "variables.npz") as file, jax.enable_x64(True):
            self.variables = {name: jax.device_put(file[name], self._device) for name in file}

    def run(self, signature: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Refuses the other functions of `Runtime`: an export of fixed sizes has none of them."""
        raise ValueError(f"a StableHLO export has no {signature}; it has adapt_and_predict.")

    def adapt_and_predict(
        self, images: np.ndarray, labels: np.ndarray, queries: np.ndarray
    ) -> np.ndarray:
        """Adapts and predicts; see `Runtime`.

        Args:
            images: uint8 [ways * shots, height, width, channels], as many and as large as the program takes.
            labels: int32 [ways * shots].
            queries: any number, of the same size; they are answered some at a time.

        Returns:
            float32 [m, ways].

        Raises:
            ValueError: for other shapes, in one line.
        """
        count = self._argument("adapt_and_predict", 2)["shape"][0]
        answers = []
        for first in range(0, len(queries), count):
            chunk = queries[first : first + count]
            # A program takes exactly so many: the first ones again fill the rest.
            filled = np.resize(chunk, (count, *chunk.shape[1:]))
            (answer,) = self._run("adapt_and_predict", images, labels, filled)
            answers.append(np.asarray(answer)[: len(chunk)])
        return np.concatenate(answers)

    def meta_step(
        self,
        support_images: np.ndarray,
        support_labels: np.ndarray,
        query_images: np.ndarray,
        query_labels: np.ndarray,
    ) -> float:
        """One meta-step on a meta-batch of tasks; moves the variables.

        Args:
            support_images: uint8 [tasks, ways * shots, ...].
            support_labels: int32 [tasks, ways * shots].
            query_images: uint8 [tasks, ways * queries, ...].
            query_labels: int32 [tasks, ways * queries].

        Returns:
            The loss before it, a mean over the queries.

        Raises:
            ValueError: for other shapes, and for an export without a meta-step, in one line.
        """
        if "meta_step" not in self._facts:
            raise ValueError("this export has no meta_step (see model_card.md).")
        batch = support_images, support_labels, query_images, query_labels
        loss, *values = self._run("meta_step", *batch)
        names = self._facts["meta_step"]["results"][1:]
        self.variables |= dict(zip(names, values, strict=True))
        return float(loss)

    def _run(self, name: str, *arguments: np.ndarray) -> list[jax.Array]:
        values = [self._checked(name, i, value) for i, value in enumerate(arguments)]
        variables = [self.variables[variable] for variable in self._facts[name]["variables"]]
        with self._one_at_a_time, jax.enable_x64(True):
            if name not in self._compiled:
                text = (self._directory / self._facts[name]["file"]).read_text(encoding="utf-8")
                self._compiled[name] = compile_program(text, self._device)
            return self._compiled[name]([*jax.device_put(values, self._device), *variables])

    def _checked(self, name: str, position: int, value: np.ndarray) -> np.ndarray:
        wanted = self._argument(name, position)
        if list(np.shape(value)) != wanted["shape"]:
            raise ValueError(
                f"{wanted['name']}: this program takes {wanted['shape']} and nothing else; received "
                f"{list(np.shape(value))}."
            )
        return np.asarray(value, wanted["dtype"])

    def _argument(self, name: str, position: int) -> Mapping[str, Any]:
        return self._facts[name]["arguments"][position]


def load(export_dir: pathlib.Path, info: Mapping[str, Any], variant: str) -> Programs:
    """Loads an export; see `anil_tf.deploy.exported.load`."""
    return Programs(export_dir, info["facts"]["programs"])


def compile_program(text: str, device: jax.Device) -> Any:
    """Compiles the text of a StableHLO program; the result maps a list of arrays to a list of arrays.

    JAX has no public way to compile a program that it did not trace, hence the pinned version.
    """
    with mlir.make_ir_context():
        return device.client.compile_and_load(
            mlir.ir.Module.parse(text),
            executable_devices=xla_client.DeviceList((device,)),
            compile_options=get_compile_options(num_replicas=1, num_partitions=1),
        ).execute
