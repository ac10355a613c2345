"""Names images after a few examples, by JAX 0.10.2: python client.py EXAMPLES.npz QUERIES.npy.

EXAMPLES.npz has one array for each class under its name, uint8 [count, height, width, channels]:
numpy.savez("EXAMPLES.npz", cat=cats, dog=dogs). QUERIES.npy is one more of them, of any count.
"""

import json
import pathlib
import sys

import jax
import numpy as np
from jax.extend.backend import get_compile_options
from jax.interpreters import mlir
from jaxlib.xla_client import DeviceList

here = pathlib.Path(__file__).resolve().parent
info = json.loads((here / "export.json").read_text())
facts = info["facts"]["programs"]["adapt_and_predict"]
shape, _, chunk = (argument["shape"] for argument in facts["arguments"])
classes, images = map(np.load, sys.argv[1:] if len(sys.argv) == 3 else sys.exit(__doc__))
support = np.concatenate(list(classes.values()))
if (len(classes), *support.shape, *images.shape[1:]) != (info["ways"], *shape, *chunk[1:]):
    sys.exit(f"expected {info['ways']} classes, {shape[0]} examples in all, sizes {shape[1:]}.")
labels = np.repeat(np.arange(len(classes)), [len(array) for array in classes.values()])
variables, device = np.load(here / "variables.npz"), jax.devices()[0]
with mlir.make_ir_context():
    module = mlir.ir.Module.parse((here / facts["file"]).read_text())
    options = get_compile_options(num_replicas=1, num_partitions=1)
    program = device.client.compile_and_load(module, DeviceList((device,)), options)
for first in range(0, len(images), chunk[0]):
    some = images[first : first + chunk[0]]  # repeated below: the program takes just so many
    values = [support, labels.astype(np.int32), np.resize(some, chunk)]
    values += [variables[name] for name in facts["variables"]]
    rows = np.asarray(program.execute(jax.device_put(values, device))[0])
    for number, row in enumerate(rows[: len(some)], first):
        ranked = sorted(zip(row, classes, strict=True), reverse=True)[:3]
        print(f"{number}:", ", ".join(f"{name} {value:.1%}" for value, name in ranked))
