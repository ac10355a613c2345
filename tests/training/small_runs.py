"""A network and tasks on which a whole run takes a second; the tests of strategies use them in another process."""

import keras
import numpy as np
import tensorflow as tf

import anil_tf
from anil_tf import training
from anil_tf.config.outer_loop import OuterLoop
from anil_tf.episodes import Tasks, class_images


def make_tasks(split="train", classes=8):
    """3-way 2-shot tasks on noisy copies of one random pattern per class."""
    random = np.random.default_rng(0 if split == "train" else 1)
    patterns = random.integers(0, 256, [classes, 1, 6, 6, 1])
    noise = random.integers(-80, 81, [classes, 10, 6, 6, 1])
    images = np.clip(patterns + noise, 0, 255).astype(np.uint8)
    source = class_images.from_classes(list(images), [f"class {c}" for c in range(classes)], split)
    sizes = {"ways": 3, "shots": 2, "queries": 3, "meta_batch_size": 4, "seed": 3}
    return Tasks(name="patterns", split=split, source=source, **sizes)


def make_learner(**options):
    """A learner with batch normalisation and dropout in its body."""
    keras.utils.set_random_seed(0)
    network = keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(12, use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Dropout(0.1),
            keras.layers.Dense(3),
        ]
    )
    body, head = anil_tf.models.split(network, adapted_layers=1)
    options = {"inner_steps": 2, "inner_step_size": 0.1, "ways": 3} | options
    return anil_tf.MetaLearner(body, head, **options)


def start_run(
    run_dir,
    *,
    epochs=3,
    callbacks=(),
    after_epoch=None,
    learner=None,
    weight_averaging=0.9,
    strategy=None,
    **optimizer_options,
):
    """Starts (or resumes) a run with epochs of 4 meta-steps; returns its learner and result."""
    strategy = strategy or tf.distribute.get_strategy()
    options = {"schedule": "cosine", "clip_norm": 1.0, "weight_decay": 0.01}
    # So long that the best epoch is neither the first nor the last.
    options |= {"outer_step_size_body": 0.2, "outer_step_size_head": 0.02} | optimizer_options
    with strategy.scope():
        learner = learner or make_learner()
        optimizer = training.optimizers.build(
            learner, OuterLoop(epochs=epochs, steps_per_epoch=4, **options)
        )
    result = training.run(
        learner,
        make_tasks(),
        make_tasks("validation"),
        run_dir=str(run_dir),
        optimizer=optimizer,
        epochs=epochs,
        steps_per_epoch=4,
        validation_episodes=6,
        weight_averaging=weight_averaging,
        strategy=strategy,
        callbacks=callbacks,
        after_epoch=after_epoch,
    )
    return learner, result
