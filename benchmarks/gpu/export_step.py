"""Exports the ANIL meta-step as StableHLO, for GPU hosts that have JAX but no TensorFlow.

    python -m benchmarks.gpu.export_step --output_dir=runs/gpu

writes one directory per precision (see `exported.py`). The step is `MetaLearner.train_step` on Conv4, gradient and Adam
included, compiled by TensorFlow for static shapes; any CPU will do. The pixels are random: no time depends on them.

float32 and tensorfloat32 are two programs. TensorFlow writes into each product and convolution how exactly a device has
to compute it: HIGHEST where `enable_tensor_float_32_execution` is off, DEFAULT where it is on. No switch is needed, or
has a say, where the program runs.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import itertools
import pathlib
import re
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

import anil_tf
from anil_tf.evaluation import protocol
from benchmarks.gpu import exported

NAMES = ["support_images", "support_labels", "query_images", "query_labels"]
Batch = list[np.ndarray]


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the step computes; every field is a flag."""

    tasks: int = 8
    ways: int = 5
    shots: int = 5
    queries: int = 5
    side: int = 32
    filters: int = 64
    inner_steps: int = 10
    inner_step_size: float = 0.01  # 0.1 diverges on untrained features: losses would be chance
    outer_step_size: float = 1e-3
    losses: int = 5  # meta-steps whose losses are compared
    seed: int = 0


def main() -> None:
    flags = _parser().parse_args()
    tf.config.set_visible_devices([], "GPU")  # the losses to compare with are those of a CPU
    names = [field.name for field in dataclasses.fields(Settings)]
    settings = Settings(**{name: getattr(flags, name) for name in names})
    for precision in flags.precisions:
        step = export(settings, precision)
        exported.save(step, flags.output_dir / precision)
        losses = " ".join(f"{loss:.4f}" for loss in step.facts.losses)
        print(f"{flags.output_dir / precision}: {len(step.program):,} bytes, losses {losses}")


def export(settings: Settings, precision: str) -> exported.Exported:
    """Exports one meta-step.

    Args:
        settings: what it computes.
        precision: one of `exported.PRECISIONS`.
    """
    tf.config.experimental.enable_tensor_float_32_execution(precision != "float32")
    learner = _learner(settings, precision)
    batch = _batch(settings)

    @tf.function(jit_compile=True)
    def meta_step(*batch: tf.Tensor) -> tf.Tensor:
        return _loss_of_meta_step(learner, batch)

    variables = _captured_variables(meta_step.get_concrete_function(*batch))
    compiled = meta_step.experimental_get_compiler_ir(*batch)
    text = compiled(stage="stablehlo")
    _check_parameters(text, len(batch) + len(variables))
    return exported.Exported(
        program=compiled(stage="stablehlo_serialized"),
        arguments=batch,
        variables=[variable.numpy() for variable in variables],
        facts=exported.Facts(
            precision=precision,
            settings=dataclasses.asdict(settings),
            arguments=NAMES,
            variables=[variable.name for variable in variables],
            outputs=_outputs(text, arguments=len(batch)),
            weights=_weights(learner, variables),
            matrix_precision=_matrix_precision(text),
            losses=_losses(learner, batch, settings.losses),  # last: this moves the variables
            software=protocol.software(),
            commit=protocol.commit(),
        ),
    )


def _learner(settings: Settings, precision: str) -> anil_tf.MetaLearner:
    keras.utils.set_random_seed(settings.seed)
    shape = (settings.side, settings.side, 3)
    model = anil_tf.models.conv4(input_shape=shape, classes=settings.ways, filters=settings.filters)
    body, head = anil_tf.models.split(model, adapted_layers=1)
    if precision == "bfloat16":
        anil_tf.models.compute_in_bfloat16(body)
    learner = anil_tf.MetaLearner(
        body, head, inner_steps=settings.inner_steps, inner_step_size=settings.inner_step_size
    )
    learner.compile(
        optimizer=keras.optimizers.Adam(settings.outer_step_size),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    learner.optimizer.build(learner.trainable_variables)
    return learner


def _batch(settings: Settings) -> Batch:
    """Images [tasks, ways * per class, side, side, 3] and labels, in the order of `NAMES`.

    An image is the mean of its class's random pixels and its own: with nothing to learn, the losses
    would rise, and adaptation would blow rounding up until no two machines agreed.
    """
    random = np.random.default_rng(settings.seed)
    image = (settings.side, settings.side, 3)
    classes = random.integers(0, 256, [settings.tasks, settings.ways, *image])

    def images_and_labels(per_class: int) -> Batch:
        own = random.integers(0, 256, [settings.tasks, settings.ways * per_class, *image])
        images = (np.repeat(classes, per_class, axis=1) + own) / 2
        labels = np.repeat(np.arange(settings.ways, dtype=np.int32), per_class)
        return [images.astype(np.float32), np.tile(labels, (settings.tasks, 1))]

    return [*images_and_labels(settings.shots), *images_and_labels(settings.queries)]


def _loss_of_meta_step(learner: anil_tf.MetaLearner, batch: tuple[tf.Tensor, ...]) -> tf.Tensor:
    *inputs, labels = batch
    for metric in learner.metrics:
        metric.reset_state()  # Keras reports a mean over steps, wanted is the loss of this one
    return learner.train_step((dict(zip(NAMES[:-1], inputs, strict=True)), labels))["loss"]


def _losses(learner: anil_tf.MetaLearner, batch: Batch, count: int) -> list[float]:
    """Losses of the next meta-steps by TensorFlow's own kernels."""

    @tf.function
    def meta_step(*batch: tf.Tensor) -> tf.Tensor:
        return _loss_of_meta_step(learner, batch)

    return [float(meta_step(*batch)) for _ in range(count)]


def _captured_variables(step: Callable) -> list[tf.Variable]:
    """The variables of a concrete function in the order of the parameters that they become."""
    by_handle = {id(variable.handle): variable for variable in step.variables}
    return [by_handle[id(handle)] for handle in step.captured_inputs]


def _check_parameters(text: str, expected: int) -> None:
    """Refuses a program that lacks parameters, because values went into it as constants."""
    signature = text.partition("func.func @main(")[2].partition(") -> ")[0]
    received = signature.count("%arg")
    if received != expected:
        raise SystemExit(
            f"The compiled step has {received} parameters; expected were {expected}, the batch and the variables. XLA "
            "takes the values of the others for constants, and compiles anew for every batch: some operation of the "
            "step needs to know them for the shape of its result."
        )


def _outputs(text: str, *, arguments: int) -> list[str | int]:
    """For each output of a program "loss", or the position of the variable that it updates.

    The program notes on itself which parameter each output may overwrite: the variable's own.
    """
    alias = r"parameter_number = (\d+) : i64\}, output_index = array<i64: (\d+)>"
    updates = {int(output): int(parameter) for parameter, output in re.findall(alias, text)}
    return [exported.LOSS, *(updates[i + 1] - arguments for i in range(len(updates)))]


def _weights(learner: anil_tf.MetaLearner, variables: list[tf.Variable]) -> list[int]:
    positions = {id(variable): i for i, variable in enumerate(variables)}
    weights = itertools.chain(learner.body_variables, learner.head_variables)
    return [positions[id(weight.value)] for weight in weights]


def _matrix_precision(text: str) -> dict[str, int]:
    """How often each precision stands in a program: DEFAULT leaves it to the device, HIGHEST is full float32."""
    pairs = re.findall(r"precision(?:_config)? = \[(?:#stablehlo<precision )?(\w+)", text)
    return dict(collections.Counter(pairs))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--output_dir", type=pathlib.Path, default=pathlib.Path("runs/gpu"))
    names = exported.PRECISIONS
    add("--precisions", nargs="+", choices=names, default=names)
    for field in dataclasses.fields(Settings):
        default = field.default
        add(f"--{field.name}", type=type(default), default=default, help=f"default: {default}")
    return parser


if __name__ == "__main__":
    main()
