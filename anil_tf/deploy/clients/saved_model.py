"""Learns classes from folders of images and names others: python client.py EXAMPLES_DIR IMAGE...

EXAMPLES_DIR has a folder for each class, with one image or more: EXAMPLES_DIR/CLASS/*.png (or jpg,
bmp, gif). Needs TensorFlow, NumPy and the files beside this one. EXIF orientation is not looked at.
"""

import json
import logging
import pathlib
import sys

import numpy as np
import tensorflow as tf

logging.getLogger("absl").setLevel("ERROR")  # loading warns of derivatives that nobody takes here
HERE = pathlib.Path(__file__).resolve().parent
HEIGHT, WIDTH, CHANNELS = json.loads((HERE / "export.json").read_text())["image_shape"]


def read(path):
    """One image, uint8 [HEIGHT, WIDTH, CHANNELS]; this makes one array of images of many sizes."""
    image = tf.io.decode_image(tf.io.read_file(str(path)), CHANNELS, expand_animations=False)
    image = tf.image.resize(image, (HEIGHT, WIDTH), antialias=True)
    return tf.cast(tf.round(image), tf.uint8)


if len(sys.argv) < 3:
    sys.exit(__doc__)
folders = sorted(path for path in pathlib.Path(sys.argv[1]).iterdir() if path.is_dir())
files = [(path, c) for c, folder in enumerate(folders) for path in sorted(folder.glob("[!.]*"))]
images, labels = tf.stack([read(path) for path, _ in files]), [c for _, c in files]
model = tf.saved_model.load(str(HERE / "saved_model"))
state = model.adapt(images, tf.constant(labels))
queries = tf.stack([read(path) for path in sys.argv[2:]])
answers = model.predict(queries, state)["probabilities"].numpy()
for path, probabilities in zip(sys.argv[2:], answers, strict=True):
    best = np.argsort(-probabilities)[:3]
    print(f"{path}:", ", ".join(f"{folders[c].name} {probabilities[c]:.1%}" for c in best))
