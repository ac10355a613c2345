"""Names images after a few examples: python client.py EXAMPLES.npz QUERIES.npy [float32|float16|int8].

EXAMPLES.npz has one array for each class under its name, uint8 [count, height, width, channels], as a
camera gives pixels: numpy.savez("EXAMPLES.npz", cat=cats, dog=dogs). QUERIES.npy is one more of them.
"""

import json
import pathlib
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter

here = pathlib.Path(__file__).resolve().parent
info = json.loads((here / "export.json").read_text())
examples, queries, *variant = sys.argv[1:] if len(sys.argv) in (3, 4) else sys.exit(__doc__)
file = info["variants"].get((variant or ["float32"])[0])
if file is None:
    sys.exit(f"{variant[0]}: expected one of {', '.join(info['variants'])}.")
try:
    classes, images = dict(np.load(examples).items()), np.asarray(np.load(queries))
except Exception as error:  # NumPy raises whatever it is
    sys.exit(f"expected files that numpy.savez and numpy.save wrote; {error}")
channels, ways = info["image_shape"][2], info["ways"] or max(2, len(classes))
for name, array in (*classes.items(), (queries, images)):
    if array.dtype != np.uint8 or array.shape[3:] != (channels,) or not array.size:
        sys.exit(f"{name}: expected uint8 [count, height, width, {channels}].")
if len(classes) != ways:
    sys.exit(f"{examples}: expected {ways} classes, received {len(classes)}.")
labels = np.repeat(np.arange(ways, dtype=np.int32), [len(array) for array in classes.values()])
model = Interpreter(str(here / file))
adapt, predict = (model.get_signature_runner(name) for name in ("adapt", "predict"))
state = adapt(support_images=np.concatenate(list(classes.values())), support_labels=labels)
for number, row in enumerate(predict(query_images=images, **state)["probabilities"]):
    ranked = sorted(zip(row, classes, strict=True), reverse=True)[:3]
    print(f"{number}:", ", ".join(f"{name} {value:.1%}" for value, name in ranked))
