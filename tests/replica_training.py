"""Trains a small learner under a strategy and writes what came of it: run by test_replicated_model.py.

usage: python tests/replica_training.py none|mirrored|multi_worker OUTPUT.npz
"""

import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).parents[1]))

import anil_tf  # noqa: E402

WAYS, TASKS, STEPS, SHAPE = 3, 4, 3, (6, 6, 1)


def meta_batches() -> tf.data.Dataset:
    rng = np.random.default_rng(0)
    labels = np.tile(np.repeat(np.arange(WAYS), 2), (STEPS, TASKS, 1)).astype("int32")
    images = rng.integers(0, 256, size=[2, STEPS, TASKS, 2 * WAYS, *SHAPE], dtype=np.uint8)
    inputs = {"support_images": images[0], "support_labels": labels, "query_images": images[1]}
    return tf.data.Dataset.from_tensor_slices((inputs, labels)).repeat()


def main(name: str, output: str | Path) -> None:
    if name == "mirrored":
        device = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(
            device, [tf.config.LogicalDeviceConfiguration()] * 2
        )
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    elif name == "multi_worker":
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    else:
        strategy = tf.distribute.get_strategy()
    epochs = []
    seen = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: epochs.append(dict(logs))
    )
    with strategy.scope():
        keras.utils.set_random_seed(0)
        # Dropout in body and head: its masks go by the number of the task, wherever it is computed.
        layers = keras.layers
        body = [layers.Conv2D(4, 3, use_bias=False), layers.BatchNormalization(), layers.ReLU()]
        body += [layers.Dropout(0.2), layers.Flatten()]
        head = [layers.Dense(8, activation="tanh"), layers.Dropout(0.2), layers.Dense(WAYS)]
        model = keras.Sequential([keras.Input(SHAPE), layers.Rescaling(1 / 255), *body, *head])
        learner = anil_tf.MetaLearner(*anil_tf.models.split(model, 2), inner_steps=1)
        learner.compile(
            optimizer=keras.optimizers.SGD(0.1),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            jit_compile=False,
        )
    learner.fit(
        meta_batches(),
        epochs=2,
        steps_per_epoch=STEPS,
        validation_data=meta_batches().take(2),
        validation_steps=2,
        callbacks=[seen],
        verbose=0,
    )
    weights = {f"weight_{i}": weight for i, weight in enumerate(learner.get_weights())}
    logs = {f"log_{name}": [epoch[name] for epoch in epochs] for name in epochs[0]}
    np.savez(output, **weights, **logs)


if __name__ == "__main__":
    main(*sys.argv[1:])
