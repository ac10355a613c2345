"""The StableHLO format: adapt-and-predict and the meta-step as programs of fixed sizes, for JAX.

XLA compiles programs whose every shape is known, so these are made for one number of ways, shots and queries. Both
share one file of variables: `adapt_and_predict` answers with what meta-steps have learned.
"""

from __future__ import annotations

import importlib.util
import pathlib
import re
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from anil_tf.deploy.compiled_program import Program, compile_program
from anil_tf.deploy.formats import Options, Written
from anil_tf.deploy.made_task import made_task
from anil_tf.deploy.signatures import Signatures
from anil_tf.meta_learner import MetaLearner

VARIABLES = "variables.npz"
ANSWER, STEP, LOSS = "adapt_and_predict", "meta_step", "loss"
# Of Adam, where the learner has no optimizer: that of bin/train.py.
_OUTER_STEP_SIZE = 1e-3
# What a probability may differ by from that of the learner before an export counts as failed.
_TOLERANCE = 1e-3

USAGE = """\
`client.py` needs JAX and NumPy, and no TensorFlow. Its examples are arrays, one for each class, of the size of the
network's images and as many as the program was made for:

```sh
python client.py EXAMPLES.npz QUERIES.npy          # numpy.savez("EXAMPLES.npz", cat=cats, dog=dogs), uint8 arrays
```

Where this library is installed, with or without TensorFlow, meta-training goes on in JAX:

```python
from anil_tf.deploy.runtimes.stablehlo import Programs

model = Programs("EXPORT_DIR")
loss = model.meta_step(support_images, support_labels, query_images, query_labels)    # moves the variables
model.adapt_and_predict(examples, labels, images)                                    # float32 [m, ways]
```

`export.json` lists the arguments, variables and results of each program under `facts`.
"""


def export(learner: MetaLearner, directory: pathlib.Path, options: Options) -> Written:
    """Writes the programs and `variables.npz` into `directory`; see `formats.Format`."""
    _check(options)
    learner = learner.replace(ways=options.ways)  # both programs are to use the same variables
    signatures = _FixedSignatures(
        learner, normalization=options.normalization, temperature=options.temperature
    )
    if signatures.rows not in (None, options.ways):
        raise ValueError(
            f"A free head has one learned row for each of {signatures.rows} classes. Received: ways={options.ways}."
        )
    task = dict(
        zip(
            ("support_images", "support_labels", "query_images"),
            made_task(learner, options),
            strict=True,
        )
    )
    programs = {ANSWER: compile_program(signatures.only_answers, task)}
    if learner.supports_jit:
        programs[STEP] = _meta_step(learner, task, options)
    names = _names(programs)
    for name, program in programs.items():
        (directory / f"{name}.mlir").write_text(program.text, encoding="utf-8")
    used = {id(v): v for program in programs.values() for v in program.variables}
    np.savez(directory / VARIABLES, **{names[key]: v.numpy() for key, v in used.items()})
    facts = {"programs": {name: _facts(name, p, names) for name, p in programs.items()}}
    difference = _difference(signatures, directory, task, facts)
    return Written(
        variants={"float32": f"{ANSWER}.mlir"},
        files={name: f"{name}.mlir" for name in programs if name != ANSWER}
        | {"variables": VARIABLES},
        ways=options.ways if signatures.classifies else None,
        signatures=(ANSWER,),
        limits=_limits(options, difference, STEP in programs),
        facts=facts | {"largest_difference": {"float32": difference}},
    )


def _check(options: Options) -> None:
    """Refuses what cannot be exported, before the slow part."""
    if options.normalization == "episode":
        raise ValueError(
            "StableHLO exports take normalization=support or running. Received: episode. Export as saved_model."
        )
    if importlib.util.find_spec("jax") is None:
        raise ValueError(
            "A StableHLO export is compared with the learner before it is let out, which needs JAX. It is not "
            "installed: pip install jax==0.10.2."
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


def _meta_step(learner: MetaLearner, task: dict[str, np.ndarray], options: Options) -> Program:
    """`MetaLearner.train_step`, gradient and optimizer included, on a meta-batch of such tasks."""
    classes = learner.inner_loss == "cross_entropy"
    learner.compile(
        optimizer=keras.optimizers.Adam(_OUTER_STEP_SIZE),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        if classes
        else keras.losses.MeanSquaredError(),
        jit_compile=False,
    )
    learner.optimizer.build(learner.trainable_variables)

    def step(
        images: tf.Tensor, labels: tf.Tensor, queries: tf.Tensor, truth: tf.Tensor
    ) -> tf.Tensor:
        for metric in learner.metrics:
            metric.reset_state()  # Keras reports a mean over steps, wanted is the loss of this one
        inputs = {"support_images": images, "support_labels": labels, "query_images": queries}
        return learner.train_step((inputs, truth))["loss"]

    truth = task["support_labels"][:1].repeat(len(task["query_images"]), axis=0)
    shapes = task | {"query_labels": truth}
    batch = {
        name: np.zeros([options.meta_batch_size, *value.shape], value.dtype)
        for name, value in shapes.items()
    }
    return compile_program(step, batch)


def _names(programs: dict[str, Program]) -> dict[int, str]:
    """A name for each variable, by its id: a number, since no two of them may have the same, and what it is."""
    used = list({id(v): v for program in programs.values() for v in program.variables}.items())
    return {
        key: f"{number:03}_{re.sub(r'[^0-9a-zA-Z]+', '_', _name(variable))}"
        for number, (key, variable) in enumerate(used)
    }


def _name(variable: tf.Variable | tf.Tensor) -> str:
    return variable.name.partition(":")[0] if isinstance(variable, tf.Variable) else "constant"


def _facts(name: str, program: Program, names: dict[int, str]) -> dict[str, Any]:
    """What whoever runs a program has to know, as JSON can hold it."""
    variables = [names[id(variable)] for variable in program.variables]
    return {
        "file": f"{name}.mlir",
        "arguments": [
            {"name": argument, "shape": list(value.shape), "dtype": str(value.dtype)}
            for argument, value in program.arguments.items()
        ],
        "variables": variables,
        "results": [LOSS if name == STEP else "probabilities"]
        + [variables[position] for position in program.updated],
    }


def _difference(
    signatures: _FixedSignatures,
    directory: pathlib.Path,
    task: dict[str, np.ndarray],
    facts: dict[str, Any],
) -> float:
    """The largest difference of the program's answers from the learner's own, on a made task."""
    from anil_tf.deploy.runtimes.stablehlo import Programs

    expected = signatures.only_answers(*map(tf.constant, task.values())).numpy()
    found = Programs(directory, facts["programs"]).adapt_and_predict(*task.values())
    difference = float(np.abs(found - expected).max())
    if not difference <= _TOLERANCE:  # true for NaN, too
        raise RuntimeError(
            f"The StableHLO program answers other than the learner: a largest difference of {difference:.1e}, where "
            f"{_TOLERANCE:g} at most was expected. Export as saved_model."
        )
    return difference


def _limits(options: Options, difference: float, has_step: bool) -> tuple[str, ...]:
    limits = [
        f"Sizes are fixed: {options.ways} classes of {options.shots} examples, images of the network's own size. Any "
        f"number of queries goes, {options.ways * options.queries} at a time, each time with the adaptation anew. "
        "The program checks nothing: labels have to be 0..ways-1.",
        f"Largest difference of a probability from the Keras model, on a made task: {difference:.1e}.",
        "JAX has no public way to compile a program that it did not trace: `client.py` is written for JAX 0.10.2.",
    ]
    if has_step:
        limits.append(
            f"`meta_step.mlir` is one meta-step on {options.meta_batch_size} tasks, with a fresh Adam of step size "
            f"{_OUTER_STEP_SIZE:g}; it counts its steps in int64, which JAX has to be told to allow."
        )
    else:
        limits.append(
            "There is no `meta_step.mlir`: XLA gets the second derivatives of max pooling wrong, which it would take."
        )
    return tuple(limits)
