"""The SavedModel format: all of a learner, for TensorFlow in any language and for TensorFlow Serving.

Written through `keras.export.ExportArchive`, which finds the variables that the functions use; what
`tf.saved_model.save` makes of a Keras model is converted to wrong numbers by later tools.
"""

from __future__ import annotations

import pathlib

import keras
import tensorflow as tf

from anil_tf.deploy import agreement
from anil_tf.deploy.formats import Options, Written
from anil_tf.deploy.runtimes.saved_model import SavedModelRuntime
from anil_tf.deploy.signatures import Signatures
from anil_tf.meta_learner import MetaLearner

NAME = "saved_model"
VARIANT = "float32"
# ExportArchive makes the first one TensorFlow's serving_default as well.
_ORDER = ("adapt_and_predict", "adapt", "predict", "embed")

_PROGRAM_USAGE = """\
In a program:

```python
model = tf.saved_model.load("saved_model")
state = model.adapt(support_images, support_labels)      # uint8 [n, height, width, channels], int32 [n] of 0..ways-1
model.predict(query_images, state)["probabilities"]      # float32 [m, ways]
```

The state is a dictionary of tensors: keep it, and predictions need no examples any more. `adapt_and_predict` does both
in one call and is the `serving_default` signature. TensorFlow Serving takes it as JSON, by columns:

```python
inputs = {"support_images": support_images, "support_labels": support_labels, "query_images": query_images}
body = json.dumps({"inputs": {name: array.tolist() for name, array in inputs.items()}})      # NumPy arrays
answer = urllib.request.urlopen("http://localhost:8501/v1/models/MODEL:predict", body.encode())
probabilities = json.load(answer)["outputs"]
```
"""
USAGE = (
    """\
`client.py` needs TensorFlow and nothing else. It takes a folder of examples, one sub-folder per class, and images to
name:

```sh
python client.py EXAMPLES_DIR IMAGE...
```

"""
    + _PROGRAM_USAGE
)
_REGRESSION_USAGE = """\
```python
model = tf.saved_model.load("saved_model")
state = model.adapt(support_inputs, support_targets)     # float32 [n, ...], float32 [n, k]
model.predict(query_inputs, state)["outputs"]            # float32 [m, k]
```
"""
_EPISODE_USAGE = """\
```python
model = tf.saved_model.load("saved_model")
model.adapt_and_predict(support_images, support_labels, query_images)["probabilities"]
```

There is no `adapt` and no `predict`, because the examples are read in the light of the queries.
"""


def check(learner: MetaLearner, options: Options) -> None:
    """Refuses a learner that has no export; see `formats.Format`."""
    Signatures(learner, normalization=options.normalization)


def export(learner: MetaLearner, directory: pathlib.Path, options: Options) -> Written:
    """Writes `directory/saved_model`; see `formats.Format`."""
    signatures = Signatures(
        learner, normalization=options.normalization, temperature=options.temperature
    )
    archive = keras.export.ExportArchive()
    archive.track(learner)
    names = [name for name in _ORDER if name in signatures.names]
    for name in names:
        archive.add_endpoint(name, getattr(signatures, name), signatures.specs(name))
    # The derivatives that adaptation takes are in the graph already; those of the export itself nobody takes.
    save_options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    archive.write_out(str(directory / NAME), options=save_options, verbose=False)
    difference = agreement.largest_difference(
        SavedModelRuntime(directory / NAME),
        agreement.reference(learner, options),
        name="The SavedModel",
        adapts="adapt" in names,
        tolerance=agreement.TOLERANCE,
    )
    usage = None if signatures.takes_images else _REGRESSION_USAGE
    if options.normalization == "episode":
        usage = _EPISODE_USAGE
    return Written(
        variants={VARIANT: NAME},
        ways=signatures.rows,
        state=signatures.layout.tensors if "adapt" in names else (),
        signatures=tuple(signatures.names),
        usage=usage,
        limits=(
            "Labels out of range, classes without examples and wrong shapes are errors of the graph itself, whoever "
            "calls it.",
            f"Largest difference of {'a probability' if signatures.classifies else 'an output'} from the Keras model, "
            f"on a made task: {difference:.1e}.",
        ),
        facts={"largest_difference": {VARIANT: difference}},
    )
