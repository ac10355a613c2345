"""Strategies: two replicas learn what one learns, and a run under them resumes."""

import subprocess
import sys

import pytest
import tensorflow as tf

from anil_tf.training import distribution

# In a process of its own: logical devices are made before TensorFlow computes anything.
PROGRAM = """
import os, signal, sys
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from anil_tf import training
from tests.training.small_runs import start_run

class Stop(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 1:
            os.kill(os.getpid(), signal.SIGTERM)

def run(name, strategy, callbacks=()):
    learner, _ = start_run(
        os.path.join(sys.argv[1], name), epochs=1, strategy=strategy, callbacks=callbacks,
        optimizer="sgd", outer_step_size_body=0.5, outer_step_size_head=0.2,
        clip_norm=0.05)
    return np.concatenate([w.numpy().ravel() for w in learner.weights])

one = run("one", None)
mirrored = training.distribution.create("mirrored")
assert mirrored.num_replicas_in_sync == 2
try:
    run("two", mirrored, [Stop()])
    raise AssertionError("not stopped")
except training.Stopped:
    pass
np.testing.assert_allclose(run("two", mirrored), one, rtol=1e-4, atol=1e-6)
rows = [np.loadtxt(os.path.join(sys.argv[1], name, "metrics.csv"), delimiter=",", skiprows=1)
        for name in ("one", "two")]
np.testing.assert_allclose(*rows, rtol=1e-4)
print("same")
"""


def test_two_replicas_that_are_stopped_and_resumed_learn_what_one_learns(repository, tmp_path):
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=300)
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
