"""Small learners and tasks on which a whole run takes a second."""

import keras
import numpy as np
import pytest

import anil_tf
from anil_tf import training
from anil_tf.episodes import Tasks, class_images


def _images(split: str, classes: int = 8) -> class_images.ClassImages:
    """Noisy copies of one random pattern per class."""
    random = np.random.default_rng(0 if split == "train" else 1)
    patterns = random.integers(0, 256, [classes, 1, 6, 6, 1])
    noise = random.integers(-80, 81, [classes, 10, 6, 6, 1])
    images = np.clip(patterns + noise, 0, 255).astype(np.uint8)
    return class_images.from_classes(list(images), [f"class {c}" for c in range(classes)], split)


@pytest.fixture(scope="session")
def make_tasks():
    """Makes 3-way 2-shot tasks on made images."""

    def make(split: str = "train") -> Tasks:
        return Tasks(
            name="patterns",
            split=split,
            source=_images(split),
            ways=3,
            shots=2,
            queries=3,
            meta_batch_size=4,
            seed=3,
        )

    return make


@pytest.fixture(scope="session")
def make_learner():
    """Makes a learner with batch normalisation and dropout in its body."""

    def make(**options) -> anil_tf.MetaLearner:
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

    return make


@pytest.fixture(scope="session")
def start_run(make_learner, make_tasks):
    """Starts (or resumes) a run of 3 epochs with 4 meta-steps each."""

    def start(
        run_dir,
        *,
        callbacks=(),
        after_epoch=None,
        learner=None,
        weight_averaging=0.9,
        **optimizer_options,
    ):
        learner = learner or make_learner()
        options = {"schedule": "cosine", "total_steps": 12, "clip_norm": 1.0, "weight_decay": 0.01}
        optimizer = training.optimizers.build(learner, **(options | optimizer_options))
        result = training.run(
            learner,
            make_tasks(),
            make_tasks("validation"),
            run_dir=str(run_dir),
            optimizer=optimizer,
            epochs=3,
            steps_per_epoch=4,
            validation_episodes=6,
            weight_averaging=weight_averaging,
            callbacks=callbacks,
            after_epoch=after_epoch,
        )
        return learner, result

    return start
