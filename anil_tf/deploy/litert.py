"""The LiteRT format: three files for phones and small machines, with builtin operators only.

LiteRT cannot differentiate. Adaptation is therefore written out in closed forms (`closed_form.py`), for heads of one
linear layer, and images are always resized by the two products of `resize.py`, so that all shapes follow from those of
the inputs. The graph checks no labels: a runtime that has no assertions leaves that to `exported.py` and the client.
"""

from __future__ import annotations

import contextlib
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
from tensorflow.lite.python.convert_phase import ConverterError

from anil_tf.deploy import agreement, closed_form
from anil_tf.deploy.formats import Options, Written
from anil_tf.deploy.resize import interpolate
from anil_tf.deploy.signatures import Signatures
from anil_tf.learner.adapted_classifier import TaskState
from anil_tf.meta_learner import MetaLearner
from anil_tf.models.keras_internals import flattened_layers
from anil_tf.models.normalization import Given, batch_normalizations
from anil_tf.models.pure_call import pure_call

VARIANTS = ("float32", "float16", "int8")

USAGE = """\
`client.py` needs ai-edge-litert and NumPy, and no TensorFlow. Its examples are arrays, one for each class:

```sh
python client.py EXAMPLES.npz QUERIES.npy          # numpy.savez("EXAMPLES.npz", cat=cats, dog=dogs), uint8 arrays
python client.py EXAMPLES.npz QUERIES.npy int8     # the file with weights of 8 bits
```

On a phone the same files run in LiteRT's libraries for Kotlin, Swift and C++, by the names of their signatures:

```python
interpreter = Interpreter("model_float32.tflite")
state = interpreter.get_signature_runner("adapt")(support_images=examples, support_labels=labels)
interpreter.get_signature_runner("predict")(query_images=queries, **state)["probabilities"]
```

Examples are uint8 [n, height, width, channels], labels int32 [n]. The state is a few arrays: keep it, and predictions
need no examples any more. Any number of images goes, of any height and width, and of classes what `export.json` says
under `ways` (null: any).
"""
_REGRESSION_USAGE = """\
The files need ai-edge-litert and NumPy, and no TensorFlow:

```python
interpreter = ai_edge_litert.interpreter.Interpreter("model_float32.tflite")
state = interpreter.get_signature_runner("adapt")(support_images=inputs, support_labels=targets)
interpreter.get_signature_runner("predict")(query_images=new_inputs, **state)["outputs"]      # float32 [m, k]
```

Inputs are float32 [n, ...], targets float32 [n, k]. The state is a few arrays: keep it, and predictions need no
examples any more. On a phone the same files run in LiteRT's libraries for Kotlin, Swift and C++.
"""


def export(learner: MetaLearner, directory: pathlib.Path, options: Options) -> Written:
    """Writes `directory/model_VARIANT.tflite`; see `formats.Format`."""
    check(learner, options)
    from anil_tf.deploy.runtimes.litert import LiteRTRuntime

    paths = {variant: directory / f"model_{variant}.tflite" for variant in VARIANTS}
    reference = agreement.reference(learner, options)  # in the learner's own precision
    with _body_in_float32(learner):
        signatures = _BuiltinSignatures(
            learner, normalization=options.normalization, temperature=options.temperature
        )
        with tempfile.TemporaryDirectory() as folder:
            _save(learner, signatures, folder)
            for variant, path in paths.items():
                path.write_bytes(_convert(folder, signatures.names, variant))
    differences = {
        variant: agreement.largest_difference(
            LiteRTRuntime(path),
            reference,
            name=path.name,
            adapts=True,
            tolerance=agreement.tolerance_of(learner) if variant == "float32" else None,
        )
        for variant, path in paths.items()
    }
    return Written(
        variants={variant: path.name for variant, path in paths.items()},
        ways=signatures.rows,
        state=signatures.layout.tensors,
        signatures=signatures.names,
        limits=_limits(learner, differences),
        usage=None if signatures.takes_images else _REGRESSION_USAGE,
        facts={"largest_difference": differences},
    )


def check(learner: MetaLearner, options: Options) -> None:
    """Refuses what LiteRT cannot hold, and what cannot be compared; see `formats.Format`."""
    closed_form.check(learner)
    Signatures(learner, normalization=options.normalization)
    agreement.check(
        "LiteRT", options, "ai-edge-litert", module="ai_edge_litert", install="ai-edge-litert"
    )


def _limits(learner: MetaLearner, differences: dict[str, float]) -> tuple[str, ...]:
    said = ", ".join(f"{variant} {value:.1e}" for variant, value in differences.items())
    compared = (
        "The weights of float16 and int8 are rounded; with int8, so are the inputs of each convolution, image by "
        "image."
    )
    if agreement.computes_in_bfloat16(learner):
        compared += " The Keras model computes its body in bfloat16, and float32 does not."
    if learner.inner_loss == "squared_error":
        checks = "Shapes and types are the caller's affair; `anil_tf.deploy.exported` sees to them."
    else:
        checks = (
            "Labels have to be 0..ways-1, each on one example or more; `client.py` and `anil_tf.deploy.exported` see "
            "to that, other callers have to."
        )
    return (
        f"The files check nothing: LiteRT has no assertions. {checks}",
        f"Largest difference of an answer from the Keras model's, on a made task: {said}. {compared}",
    )


class _BuiltinSignatures(Signatures):
    """The four functions, in builtin operators, with nothing checked."""

    def embed(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """See `Signatures`."""
        if self._normalization == "running":
            return super().embed(images)
        # The converter would fold constant statistics into the filters, and store a second set of these. A zero that
        # it cannot know keeps it from that, and the file at half its size.
        zero = tf.cast(tf.minimum(tf.shape(images)[0], 0), tf.float32)
        body = self._learner.body
        statistics = {
            str(i): (layer.moving_mean + zero, layer.moving_variance + zero)
            for i, layer in enumerate(batch_normalizations(body))
        }
        features, _ = pure_call(body, None, self._inputs(images), statistics=Given(statistics))
        return {"features": tf.reshape(features, [-1, features.shape[1:].num_elements()])}

    def concrete(self, name: str) -> Any:
        """The function of this name, whose inputs all have names of their own, as a converter wants it."""
        function, specs = getattr(self, name), self.specs(name)
        named = {spec.name: spec for spec in tf.nest.flatten(specs)}
        if name == "predict":
            function = lambda query_images, **state: self.predict(query_images, state)  # noqa: E731
        return tf.function(function, autograph=False).get_concrete_function(**named)

    def _task_state(self, images: tf.Tensor, labels: tf.Tensor, ways: int | tf.Tensor) -> TaskState:
        return closed_form.task_state(self._learner, images, labels, ways, self._normalization)

    def _require(self, condition: tf.Tensor, message: str, *received: tf.Tensor) -> Any:
        return contextlib.nullcontext()

    def _inputs(self, images: tf.Tensor) -> tf.Tensor:
        return interpolate(images, self._image_shape[:2]) if self.takes_images else images


@contextlib.contextmanager
def _body_in_float32(learner: MetaLearner) -> Iterator[None]:
    """Makes a body that computes in mixed precision compute in float32 for a while: LiteRT has no bfloat16."""
    layers = list(flattened_layers(learner.body))
    policies = [layer.dtype_policy for layer in layers]
    mixed = [policy.compute_dtype != policy.variable_dtype for policy in policies]
    try:
        for layer, policy, is_mixed in zip(layers, policies, mixed, strict=True):
            if is_mixed:
                layer.dtype_policy = policy.variable_dtype
        yield
    finally:
        for layer, policy in zip(layers, policies, strict=True):
            layer.dtype_policy = policy


def _save(learner: MetaLearner, signatures: _BuiltinSignatures, folder: str) -> None:
    """Writes the SavedModel that the converter reads.

    By hand, and not by Keras: the module holds the variables that the functions use, which is what makes the converter
    find their values.
    """
    module = tf.Module()
    module.variables_used = [variable.value for variable in learner.variables]
    functions = {name: signatures.concrete(name) for name in signatures.names}
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(module, folder, signatures=functions, options=options)


def _convert(folder: str, signatures: tuple[str, ...], variant: str) -> bytes:
    converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(signatures))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if variant != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]  # alone: weights of 8 bits
    if variant == "float16":
        converter.target_spec.supported_types = [tf.float16]
    try:
        return converter.convert()
    except ConverterError as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), "no reason given")
        raise ValueError(
            f"LiteRT's builtin operators cannot hold this model: {reason} Export as saved_model."
        ) from error
