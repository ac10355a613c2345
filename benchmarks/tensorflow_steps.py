"""Training steps in TensorFlow, to be timed: python benchmarks/tensorflow_steps.py --batch=FILE.npz [--share_out_cores]

Serves the steps (see `worker.py`) on the meta-batch and from the weights of the file:

    supervised[_jit]       plain training on all images of all tasks: the fastest tf.function that could be written of
                           usual operations, without or with XLA
    supervised_folded      ... with our own first layer, `normalized_convolution`
    METHOD[_bfloat16]@N    the library's meta-step, `MetaLearner.train_step` in a tf.function, with N inner steps, and
                           perhaps a body in mixed precision. METHOD is one of

        anil               linear head adapted, explicit engine
        anil_unrolled      ... differentiated by tapes
        two_layers         two last layers adapted, explicit engine
        maml               everything adapted, unrolled
        maml_explicit      ... each inner step computed a second time on the way back
        maml_first_order   ... second derivatives dropped

All steps are Conv4 with Adam, on images in memory. --share_out_cores gives the process the threads that bin/train.py
takes; without it they are TensorFlow's own choice. Shapes: B tasks, n images each.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import keras
import numpy as np
import tensorflow as tf

import anil_tf
from anil_tf import threads
from anil_tf.models.image_convolution import normalized_convolution
from benchmarks import worker

BLOCKS = 4
EPSILON = 1e-3  # of batch normalisation: Keras' default
ADAM = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-7}  # Keras' defaults

METHODS: dict[str, dict[str, Any]] = {
    "anil": {"adapted_layers": 1, "inner_step_size": 0.1},
    "anil_unrolled": {
        "adapted_layers": 1,
        "inner_step_size": 0.1,
        "differentiation": "unrolled",
    },
    "two_layers": {"adapted_layers": 2, "inner_step_size": 0.01},
    "maml": {"adapted_layers": "all", "inner_step_size": 0.01, "differentiation": "unrolled"},
    "maml_explicit": {"adapted_layers": "all", "inner_step_size": 0.01},
    "maml_first_order": {
        "adapted_layers": "all",
        "inner_step_size": 0.01,
        "differentiation": "first_order",
    },
}


# ---- The meta-step ---------------------------------------------------------------------------------------------------


def meta_step(
    arrays: dict[str, np.ndarray], method: str, steps: int, bfloat16: bool
) -> worker.Step:
    """Builds the library's meta-step.

    Args:
        arrays: the file's.
        method: one of METHODS.
        steps: N.
        bfloat16: whether the body computes in bfloat16.

    Returns:
        A function that takes one step and returns the meta-loss before it.
    """
    learner = _learner(arrays, steps, bfloat16, **METHODS[method])
    inputs = {
        name: tf.constant(arrays[name])
        for name in ("support_images", "support_labels", "query_images")
    }
    labels = tf.constant(arrays["query_labels"])
    compiled = tf.function(lambda: learner.train_step((inputs, labels)), autograph=False)

    def step() -> float:
        learner.reset_metrics()  # the loss of this step alone
        return float(compiled()["loss"])

    return step


def _learner(
    arrays: dict[str, np.ndarray],
    steps: int,
    bfloat16: bool,
    *,
    adapted_layers: int | str,
    **options: Any,
) -> anil_tf.MetaLearner:
    filters = arrays["kernel_0"].shape[-1]
    network = anil_tf.models.conv4(
        input_shape=arrays["support_images"].shape[2:],
        classes=arrays["head_bias"].shape[0],
        filters=filters,
    )
    network.set_weights(in_keras_order(arrays))
    body, head = anil_tf.models.split(network, adapted_layers)
    if bfloat16:
        anil_tf.models.compute_in_bfloat16(body)
    learner = anil_tf.MetaLearner(body, head, inner_steps=steps, **options)
    learner.compile(
        optimizer=keras.optimizers.Adam(ADAM["lr"]),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    return learner


def in_keras_order(arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    weights = []
    for i in range(BLOCKS):
        gamma, beta = arrays[f"gamma_{i}"], arrays[f"beta_{i}"]
        moving = [np.zeros_like(gamma), np.ones_like(gamma)]
        weights += [arrays[f"kernel_{i}"], gamma, beta, *moving]
    return [*weights, arrays["head_kernel"], arrays["head_bias"]]


# ---- The supervised step ---------------------------------------------------------------------------------------------


def supervised_step(
    arrays: dict[str, np.ndarray], *, jit_compile: bool = False, folded: bool = False
) -> worker.Step:
    """Builds one step of plain training: one batch [B * n, ...], fused kernels, ReLU behind the pooling, fused Adam.

    Args:
        arrays: the file's.
        jit_compile: whether XLA compiles the step.
        folded: whether the first layer's normalisation is folded into its convolution, as in the library.

    Returns:
        A function that takes one step and returns the loss before it.
    """
    images, labels = (
        np.concatenate([arrays[f"{part}_{kind}"] for part in ("support", "query")], axis=1)
        for kind in ("images", "labels")
    )
    images = tf.constant(images.reshape(-1, *images.shape[2:]))
    labels = tf.constant(labels.reshape(-1))
    names = [f"{kind}_{i}" for i in range(BLOCKS) for kind in ("kernel", "gamma", "beta")]
    weights = [tf.Variable(arrays[name]) for name in (*names, "head_kernel", "head_bias")]
    apply_adam = _adam(weights)

    @tf.function(jit_compile=jit_compile, autograph=False)
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits = _conv4(images, weights, folded)
            loss = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
            )
        apply_adam(tape.gradient(loss, weights))
        return loss

    return lambda: float(step())


def _conv4(images: tf.Tensor, weights: list[tf.Variable], folded: bool) -> tf.Tensor:
    tensor = images * (1 / 255)
    for i in range(BLOCKS):
        kernel, gamma, beta = weights[3 * i : 3 * i + 3]
        if folded and i == 0:
            tensor, *_ = normalized_convolution(
                _Convolution(kernel), tensor, gamma, beta, epsilon=EPSILON
            )
        else:
            tensor = _normalize(tf.nn.conv2d(tensor, kernel, 1, "SAME"), gamma, beta)
        tensor = tf.nn.relu(tf.nn.max_pool2d(tensor, 2, 2, "VALID"))
    features = tf.reshape(tensor, [tensor.shape[0], -1])
    return tf.matmul(features, weights[-2]) + weights[-1]


@dataclasses.dataclass
class _Convolution:
    """A convolution as `normalized_convolution` needs to see it."""

    kernel: tf.Variable

    def convolution_op(self, images: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return tf.nn.conv2d(images, kernel, 1, "SAME")


def _normalize(tensor: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> tf.Tensor:
    return tf.raw_ops.FusedBatchNormV2(
        x=tensor,
        scale=gamma,
        offset=beta,
        mean=tf.zeros([0]),
        variance=tf.zeros([0]),
        epsilon=EPSILON,
        is_training=True,
    ).y


def _adam(weights: list[tf.Variable]) -> Callable[[list[tf.Tensor]], None]:
    """Adam by TensorFlow's own kernel, one for each variable."""
    slots = [(tf.Variable(tf.zeros_like(w)), tf.Variable(tf.zeros_like(w))) for w in weights]
    powers = tf.Variable(ADAM["beta1"]), tf.Variable(ADAM["beta2"])

    def apply(gradients: list[tf.Tensor]) -> None:
        for weight, (mean, square), gradient in zip(weights, slots, gradients, strict=True):
            tf.raw_ops.ResourceApplyAdam(
                var=weight.handle,
                m=mean.handle,
                v=square.handle,
                beta1_power=powers[0],
                beta2_power=powers[1],
                grad=gradient,
                **ADAM,
            )
        for power, beta in zip(powers, (ADAM["beta1"], ADAM["beta2"]), strict=True):
            power.assign(power * beta)

    return apply


# ---- Steps by name ---------------------------------------------------------------------------------------------------


class Steps(dict):
    """Builders of the steps on the meta-batch in `file`, by name."""

    def __init__(self, file: str | Path):
        super().__init__()
        with np.load(file) as loaded:
            self._arrays = dict(loaded)
        self.tasks = len(self._arrays["support_images"])

    def __missing__(self, name: str) -> worker.Builder:
        supervised = {"supervised": {}, "supervised_jit": {"jit_compile": True}}
        supervised["supervised_folded"] = {"folded": True}
        if name in supervised:
            return lambda: supervised_step(self._arrays, **supervised[name])
        found = re.fullmatch(rf"({'|'.join(METHODS)})(_bfloat16)?@(\d+)", name)
        if not found:
            raise ValueError(
                f"step: expected {', '.join(supervised)} or METHOD[_bfloat16]@N, METHOD one of "
                f"{', '.join(METHODS)}; received {name!r}."
            )
        method, bfloat16, steps = found.groups()
        return lambda: meta_step(self._arrays, method, int(steps), bool(bfloat16))


def describe() -> dict[str, Any]:
    """Returns versions and the numbers of threads (0: TensorFlow's own choice, one per core)."""
    return {
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "threads": tf.config.threading.get_intra_op_parallelism_threads(),
        "interop_threads": tf.config.threading.get_inter_op_parallelism_threads(),
    }


def main() -> None:
    """Serves the steps on standard input and output."""
    parser = argparse.ArgumentParser(description="Serves TensorFlow steps to a Worker.")
    parser.add_argument("--batch", required=True, help="the .npz file with batch and weights")
    parser.add_argument("--share_out_cores", action="store_true", help="threads as in training")
    arguments = parser.parse_args()
    if not Path(arguments.batch).is_file():
        parser.error(f"--batch: expected a file, received {arguments.batch}.")
    steps = Steps(arguments.batch)
    if arguments.share_out_cores:
        threads.share_out_cores(steps.tasks)
    worker.serve(steps, describe())


if __name__ == "__main__":
    main()
