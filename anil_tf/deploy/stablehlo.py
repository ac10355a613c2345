"""The StableHLO format: adapt-and-predict and the meta-step as programs of fixed sizes, for JAX.

XLA compiles programs whose every shape is known, so these are made for one number of ways, shots and queries. Both
share one file of variables: `adapt_and_predict` answers with what meta-steps have learned.
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from anil_tf.deploy import agreement
from anil_tf.deploy.compiled_program import Program, compile_program
from anil_tf.deploy.formats import Options, Written
from anil_tf.deploy.made_task import made_task
from anil_tf.deploy.signatures import Signatures
from anil_tf.meta_learner import MetaLearner

VARIABLES = "variables.npz"
ANSWER, STEP, LOSS = "adapt_and_predict", "meta_step", "loss"
# Meta-steps whose losses are compared: the second is that of what the first has learned.
_META_STEPS = 2
# What the second loss may differ by, relative to itself if it is above 1: Adam steps as far for a gradient that is zero
# but for rounding as for any other.
_LOSS_TOLERANCE = 1e-2

USAGE = """\
`client.py` needs JAX and NumPy, and no TensorFlow. Its examples are arrays, one for each class, of the size of the
network's images and as many as the program was made for:

```sh
python client.py EXAMPLES.npz QUERIES.npy          # numpy.savez("EXAMPLES.npz", cat=cats, dog=dogs), uint8 arrays
```

Where this library is installed, with or without TensorFlow, there is more, and meta-training goes on in JAX:

```python
from anil_tf.deploy.runtimes.stablehlo import Programs

model = Programs("EXPORT_DIR")
model.adapt_and_predict(examples, labels, images)                                     # float32 [m, ways]
loss = model.meta_step(support_images, support_labels, query_images, query_labels)    # moves the variables
```

`export.json` lists the arguments, variables and results of each program under `facts`.
"""
_REGRESSION_USAGE = """\
The programs need JAX and NumPy, and no TensorFlow. This library runs them, with or without TensorFlow:

```python
from anil_tf.deploy.runtimes.stablehlo import Programs

model = Programs("EXPORT_DIR")
model.adapt_and_predict(inputs, targets, new_inputs)                                    # float32 [m, k]
loss = model.meta_step(support_inputs, support_targets, query_inputs, query_targets)    # moves the variables
```

Inputs are float32 [n, ...], targets float32 [n, k]; those of a meta-step have the tasks in front. `export.json` lists
the arguments, variables and results of each program under `facts`.
"""


def export(learner: MetaLearner, directory: pathlib.Path, options: Options) -> Written:
    """Writes the programs and `variables.npz` into `directory`; see `formats.Format`."""
    check(learner, options)
    learner = learner.replace(ways=options.ways)  # both programs are to use the same variables
    signatures = _FixedSignatures(
        learner, normalization=options.normalization, temperature=options.temperature
    )
    question = made_task(learner, options)._asdict()
    del question["query_labels"]
    programs = {ANSWER: compile_program(signatures.only_answers, question)}
    lacks = _lacks_a_meta_step(learner, options)
    if not lacks:
        programs[STEP] = _meta_step(learner, options)
    facts = _write(directory, programs, signatures)
    if not lacks:
        facts["training"] = {
            "meta_batch_size": options.meta_batch_size,
            "normalization": learner.normalization,
            "optimizer": keras.optimizers.serialize(learner.optimizer),
        }
    differences = _differences(learner, directory, options, facts["programs"])
    return Written(
        variants={"float32": f"{ANSWER}.mlir"},
        files={name: f"{name}.mlir" for name in programs if name != ANSWER}
        | {"variables": VARIABLES},
        shared=("variables",),
        ways=options.ways if signatures.classifies else None,
        examples=len(question["support_images"]),
        signatures=(ANSWER,),
        limits=_limits(learner, options, differences, lacks),
        usage=None if signatures.takes_images else _REGRESSION_USAGE,
        facts=facts | {"largest_difference": differences},
    )


def check(learner: MetaLearner, options: Options) -> None:
    """Refuses what has no program of fixed sizes, and what cannot be compared; see `formats.Format`."""
    agreement.check("StableHLO", options, "JAX", module="jax", install="jax==0.10.2")
    rows = Signatures(learner, normalization=options.normalization).rows
    if rows not in (None, options.ways):
        raise ValueError(
            f"A free head has one learned row for each of {rows} classes. Received: ways={options.ways}."
        )


class _FixedSignatures(Signatures):
    """`adapt_and_predict` for a number of ways that is known, and images of the body's own size."""

    def only_answers(
        self, support_images: tf.Tensor, support_labels: tf.Tensor, query_images: tf.Tensor
    ) -> tf.Tensor:
        """The probabilities (of a regression: the outputs) [m, ways]."""
        (answers,) = self.adapt_and_predict(support_images, support_labels, query_images).values()
        return answers

    def logits(
        self, support_images: tf.Tensor, support_labels: tf.Tensor, query_images: tf.Tensor
    ) -> tf.Tensor:
        """See `Signatures`; nothing is checked."""
        ways = self._learner.ways if self.classifies else int(support_labels.shape[-1])
        support, queries = (tf.cast(i, tf.float32) for i in (support_images, query_images))
        state = self._learner.task_state(support, support_labels, ways, self._normalization)
        return self._learner.answer(queries, state, self._normalization)


def _lacks_a_meta_step(learner: MetaLearner, options: Options) -> str | None:
    """Why there is no meta-step; None where there is one."""
    if not learner.supports_jit:
        return "XLA gets the second derivatives of max pooling wrong, which it would take"
    if not learner.trainable_variables:
        return "nothing is learned"
    return "no outer optimizer was given" if options.optimizer is None else None


def _meta_step(learner: MetaLearner, options: Options) -> Program:
    """`MetaLearner.train_step`, gradient and optimizer included, on a meta-batch of such tasks."""
    assert options.optimizer is not None
    classes = learner.inner_loss == "cross_entropy"
    learner.compile(
        optimizer=options.optimizer(learner),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        if classes
        else keras.losses.MeanSquaredError(),
        jit_compile=False,
    )
    learner.optimizer.build(learner.trainable_variables)
    return compile_program(
        lambda *batch: _train_step(learner, *batch), _meta_batch(learner, options)
    )


def _train_step(
    learner: MetaLearner, images: tf.Tensor, labels: tf.Tensor, queries: tf.Tensor, truth: tf.Tensor
) -> tf.Tensor:
    """Takes a meta-step; returns the loss before it."""
    for metric in learner.metrics:
        metric.reset_state()  # Keras reports a mean over steps, wanted is the loss of this one
    inputs = {"support_images": images, "support_labels": labels, "query_images": queries}
    return learner.train_step((inputs, truth))["loss"]


def _meta_batch(learner: MetaLearner, options: Options) -> dict[str, np.ndarray]:
    """Different made tasks, each array with the tasks in front."""
    tasks = [made_task(learner, options, seed=seed) for seed in range(options.meta_batch_size)]
    return {name: np.stack([task._asdict()[name] for task in tasks]) for name in tasks[0]._fields}


def _write(
    directory: pathlib.Path, programs: Mapping[str, Program], signatures: Signatures
) -> dict[str, Any]:
    """Writes the programs and their variables; returns what whoever runs them has to know."""
    for name, program in programs.items():
        (directory / f"{name}.mlir").write_text(program.text, encoding="utf-8")
    used = {id(v): v for program in programs.values() for v in program.variables}
    # A number in each name, since no two variables may have the same.
    names = {key: f"{number:03}_{_name(v)}" for number, (key, v) in enumerate(used.items())}
    arrays: dict[str, Any] = {names[key]: variable.numpy() for key, variable in used.items()}
    np.savez(directory / VARIABLES, **arrays)
    results = {ANSWER: "probabilities" if signatures.classifies else "outputs", STEP: LOSS}
    return {"programs": {n: _facts(n, p, results[n], names) for n, p in programs.items()}}


def _name(variable: tf.Variable | tf.Tensor) -> str:
    if not isinstance(variable, tf.Variable):
        return "constant"
    return re.sub(r"[^0-9a-zA-Z]+", "_", variable.name.partition(":")[0])


def _facts(name: str, program: Program, result: str, names: dict[int, str]) -> dict[str, Any]:
    """What whoever runs a program has to know, as JSON can hold it."""
    variables = [names[id(variable)] for variable in program.variables]
    return {
        "file": f"{name}.mlir",
        "arguments": [
            {"name": argument, "shape": list(value.shape), "dtype": str(value.dtype)}
            for argument, value in program.arguments.items()
        ],
        "variables": variables,
        "results": [result] + [variables[position] for position in program.updated],
    }


def _differences(
    learner: MetaLearner, directory: pathlib.Path, options: Options, facts: dict[str, Any]
) -> dict[str, float]:
    """The largest difference of each program's answers from the learner's own, on made tasks."""
    from anil_tf.deploy.runtimes.stablehlo import Programs

    programs = Programs(directory, facts)
    tolerance = agreement.tolerance_of(learner)
    found = {
        "float32": agreement.largest_difference(
            programs,
            agreement.reference(learner, options),
            name=f"{ANSWER}.mlir",
            adapts=False,
            tolerance=tolerance,
        )
    }
    if STEP in facts:
        batch = list(_meta_batch(learner, options).values())
        losses = np.array([programs.meta_step(*batch) for _ in range(_META_STEPS)])
        expected = _losses(learner, batch)
        apart = np.abs(losses - expected) / np.maximum(1.0, np.abs(expected))
        found[STEP] = float(apart.max())
        agreement.refuse(float(apart[0]), tolerance, f"{STEP}.mlir")
        agreement.refuse(found[STEP], max(tolerance, _LOSS_TOLERANCE), f"{STEP}.mlir")
    return found


def _losses(learner: MetaLearner, batch: list[np.ndarray]) -> np.ndarray:
    """The losses of the learner's own meta-steps in turn; its weights stay what they are."""
    before = [variable.numpy().copy() for variable in learner.variables]
    try:
        tensors = [tf.constant(array) for array in batch]
        return np.array([float(_train_step(learner, *tensors)) for _ in range(_META_STEPS)])
    finally:
        for variable, value in zip(learner.variables, before, strict=True):
            variable.assign(value)


def _limits(
    learner: MetaLearner, options: Options, differences: dict[str, float], lacks: str | None
) -> tuple[str, ...]:
    if learner.inner_loss == "squared_error":
        sizes, at_a_time, checks = f"{options.shots} examples", options.queries, ""
    else:
        sizes = (
            f"{options.ways} classes of {options.shots} examples, images of the network's own size"
        )
        at_a_time = options.ways * options.queries
        checks = " The program checks nothing: labels have to be 0..ways-1."
    limits = [
        f"Sizes are fixed: {sizes}. Any number of queries goes, {at_a_time} at a time, each time with the adaptation "
        f"anew.{checks}",
        f"Largest difference of an answer from the Keras model's, on a made task: {differences['float32']:.1e}.",
        "JAX has no public way to compile a program that it did not trace: what runs it is written for JAX 0.10.2.",
    ]
    if lacks:
        limits.append(f"There is no `{STEP}.mlir`: {lacks}.")
    else:
        limits.append(
            f"`{STEP}.mlir` is one meta-step as the run took them, on {options.meta_batch_size} tasks: normalization "
            f"`{learner.normalization}`, {_in_words(learner.optimizer)}; `export.json` has all settings under `facts`. "
            "The optimizer begins afresh; it counts its steps in int64, which JAX has to be told to allow."
        )
    return tuple(limits)


def _in_words(optimizer: Any) -> str:
    """An optimizer, or each part of one that has a part for the body and one for the head."""
    parts = getattr(optimizer, "optimizers", None)
    if parts is not None:
        return ", ".join(f"{_in_words(part)} for the {part.name}" for part in parts)
    step_size = float(keras.ops.convert_to_numpy(optimizer.learning_rate))
    return f"{type(optimizer).__name__} of step size {step_size:g}"
