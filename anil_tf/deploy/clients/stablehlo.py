"""Names images after a few examples, by JAX 0.10.2: python client.py EXAMPLES.npz QUERIES.npy.

Examples are uint8 arrays, numpy.savez("EXAMPLES.npz", cat=cats, dog=dogs); QUERIES.npy is one more.
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
size, chunk = facts["arguments"][0]["shape"][1:], facts["arguments"][2]["shape"]
paths = sys.argv[1:] if len(sys.argv) == 3 else sys.exit(__doc__)
try:
    classes, images = dict(np.load(paths[0]).items()), np.asarray(np.load(paths[1]))
    names, labels = np.unique([n for n, a in classes.items() for _ in a], return_inverse=True)
except Exception as error:  # NumPy raises whatever it is
    sys.exit(f"expected files that numpy.savez and numpy.save wrote; {error}")
fits = all(a.dtype == np.uint8 and [*a.shape[1:]] == size for a in (*classes.values(), images))
if not fits or (len(names), len(labels)) != (info["ways"], info["examples"]):
    sys.exit(f"expected {info['ways']} classes, {info['examples']} examples in all, uint8 {size}.")
variables, device = np.load(here / "variables.npz"), jax.devices()[0]
with mlir.make_ir_context():
    module = mlir.ir.Module.parse((here / facts["file"]).read_text())
    run = device.client.compile_and_load(module, DeviceList((device,)), get_compile_options(1, 1))
values = [np.concatenate([*classes.values()]), labels.astype(np.int32), None]
values += [variables[name] for name in facts["variables"]]
for first in range(0, len(images), chunk[0]):
    values[2] = np.resize(images[first : first + chunk[0]], chunk)  # it takes just so many
    rows = np.asarray(run.execute(jax.device_put(values, device))[0])
    for number, row in enumerate(rows[: len(images) - first], first):
        print(f"{number}:", ", ".join(f"{names[c]} {row[c]:.1%}" for c in np.argsort(-row)[:3]))
