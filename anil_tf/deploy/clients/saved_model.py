"""Learns classes from folders of images and names others: python client.py EXAMPLES_DIR IMAGE...

A folder EXAMPLES_DIR/CLASS has one image or more, upright (EXIF is not looked at). Needs TensorFlow.
"""

import json
import logging
import pathlib
import sys

import numpy as np
import tensorflow as tf

logging.getLogger("absl").setLevel("ERROR")  # loading warns of derivatives that nobody takes here
INFO = json.loads(pathlib.Path(__file__).with_name("export.json").read_text())
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")


def read(path):
    """One image, uint8 [height, width, channels] of the network, so that images can be stacked."""
    try:
        image = tf.io.decode_image(tf.io.read_file(str(path)), expand_animations=False)
    except tf.errors.OpError:
        sys.exit(f"{path}: expected a file that TensorFlow can read as one of {', '.join(IMAGES)}.")
    image = tf.cast(image[..., : 3 if image.shape[2] > 2 else 1], tf.float32) + tf.zeros(3)
    image = tf.image.rgb_to_grayscale(image) if INFO["image_shape"][2] == 1 else image
    return np.uint8(np.round(tf.image.resize(image, INFO["image_shape"][:2], antialias=True)))


folder, *paths = sys.argv[1:] if len(sys.argv) > 2 else sys.exit(__doc__)
files = [f for f in sorted(pathlib.Path(folder).glob("[!.]*/[!.]*")) if f.suffix.lower() in IMAGES]
names, labels = np.unique([file.parent.name for file in files], return_inverse=True)
if len(names) != (INFO["ways"] or max(2, len(names))):
    sys.exit(f"{folder}: expected {INFO['ways'] or '2 or more'} image folders, found {len(names)}.")
model = tf.saved_model.load(str(pathlib.Path(__file__).with_name("saved_model")))
state = model.adapt(np.stack([*map(read, files)]), tf.constant(labels, tf.int32))
answers = model.predict(np.stack([*map(read, paths)]), state)["probabilities"].numpy()
for path, row in zip(paths, answers, strict=True):
    print(f"{path}:", ", ".join(f"{names[c]} {row[c]:.1%}" for c in np.argsort(-row)[:3]))
