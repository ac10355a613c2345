"""Names images after a few examples: python client.py EXAMPLES.npz QUERIES.npy [float32|float16|int8].

EXAMPLES.npz has one array for each class under its name, uint8 [count, height, width, channels], as a
camera gives pixels: numpy.savez("EXAMPLES.npz", cat=cats, dog=dogs). QUERIES.npy is one more of them.
"""

import json
import pathlib
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter

HERE = pathlib.Path(__file__).resolve().parent


def main(examples: str, queries: str, variant: str = "float32") -> None:
    """Prints for each query the three likeliest classes with their probabilities."""
    info = json.loads((HERE / "export.json").read_text())
    classes, images = dict(np.load(examples)), np.load(queries)
    channels, ways = info["image_shape"][2], info["ways"] or max(2, len(classes))
    for name, array in (*classes.items(), (queries, images)):
        if array.dtype != np.uint8 or array.shape[3:] != (channels,) or not array.size:
            sys.exit(f"{name}: expected uint8 [count, height, width, {channels}].")
    if len(classes) != ways:
        sys.exit(f"{examples}: expected {ways} classes, received {len(classes)}.")
    labels = np.repeat(np.arange(ways, dtype=np.int32), [len(array) for array in classes.values()])
    model = Interpreter(str(HERE / info["variants"][variant]))
    adapt, predict = (model.get_signature_runner(name) for name in ("adapt", "predict"))
    state = adapt(support_images=np.concatenate(list(classes.values())), support_labels=labels)
    for number, row in enumerate(predict(query_images=images, **state)["probabilities"]):
        ranked = sorted(zip(row, classes, strict=True), reverse=True)[:3]
        print(f"{number}:", ", ".join(f"{name} {value:.1%}" for value, name in ranked))


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) > 2 else sys.exit(__doc__)
