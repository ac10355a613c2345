"""Strategies: two replicas learn what one learns, and a run under them resumes exactly."""

import subprocess
import sys

import pytest
import tensorflow as tf

from anil_tf.training import distribution

PROGRAM = """
import os, signal, sys
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import anil_tf
from anil_tf import training
from anil_tf.episodes import Tasks, class_images

random = np.random.default_rng(0)
images = class_images.from_classes(
    list(random.integers(0, 256, [5, 6, 4, 4, 1]).astype(np.uint8)), list("abcde")
)
tasks = Tasks(name="x", split="train", source=images, ways=2, shots=1, queries=2,
              meta_batch_size=4, seed=0)

class Stop(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 1:
            os.kill(os.getpid(), signal.SIGTERM)

def run(name, strategy, callbacks=()):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        network = keras.Sequential([
            keras.Input((4, 4, 1)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten(),
            keras.layers.Dense(8, "tanh"), keras.layers.Dense(2)])
        learner = anil_tf.MetaLearner(*anil_tf.models.split(network, 1), inner_steps=1, ways=2)
        optimizer = training.optimizers.build(
            learner, optimizer="sgd", step_size_body=0.5, step_size_head=0.2, clip_norm=0.05)
    training.run(learner, tasks, tasks, run_dir=os.path.join(sys.argv[1], name),
                 optimizer=optimizer, epochs=1, steps_per_epoch=4, validation_episodes=4,
                 weight_averaging=0.5, strategy=strategy, callbacks=callbacks)
    return np.concatenate([w.numpy().ravel() for w in learner.weights])

one = run("one", tf.distribute.get_strategy())
mirrored = training.distribution.create("mirrored")
assert mirrored.num_replicas_in_sync == 2
two = run("two", mirrored)
np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-6)
try:
    run("stopped", mirrored, [Stop()])
    raise AssertionError("not stopped")
except training.Stopped:
    pass
np.testing.assert_array_equal(run("stopped", mirrored), two)
rows = [open(os.path.join(sys.argv[1], name, "metrics.csv")).read() for name in ("two", "stopped")]
assert rows[0] == rows[1], rows
print("same")
"""


def test_two_replicas_learn_what_one_learns_and_resume(repository, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout.endswith("same\n"), done.stderr[-3000:]


def test_one_process_is_its_own_chief():
    strategy = distribution.create("none")
    assert strategy is tf.distribute.get_strategy()
    assert distribution.workers(strategy) == 1
    assert distribution.is_chief(strategy)
    assert distribution.any_worker(True, strategy)
    assert not distribution.any_worker(False, strategy)
    assert distribution.same_everywhere(7, strategy)
    distribution.wait_for_all(strategy)


def test_an_unknown_strategy_is_named():
    with pytest.raises(ValueError, match="received 'tpu'"):
        distribution.create("tpu")
