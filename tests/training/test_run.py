"""Whole runs: exact resume at any meta-step, the best weights, and divergence."""

import csv
import os
import shutil
import signal
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from anil_tf.training import Diverged, Stopped
from tests.training.small_runs import make_learner, make_tasks, start_run

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


class Signal(keras.callbacks.Callback):
    """Sends this process a signal after some meta-steps, or during a validation."""

    def __init__(self, after, during_validation=False):
        super().__init__()
        self._after, self._during_validation = after, during_validation
        self._steps = 0

    def on_train_batch_end(self, batch, logs=None):
        self._steps += 1
        if not self._during_validation:
            self._send()

    def on_test_begin(self, logs=None):
        if self._during_validation:
            self._send()

    def _send(self):
        if self._steps == self._after:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """A run that nothing stopped, and the validation loss of the learner's weights after each epoch."""
    folder, learner, seen = tmp_path_factory.mktemp("uninterrupted"), make_learner(), []
    batches = [make_tasks("validation").batch(step) for step in range(2)]

    def see(epoch):
        losses = [LOSS(labels, learner(inputs, training=False)) for inputs, labels in batches]
        seen.append((epoch, float(np.mean(losses))))

    _, result = start_run(folder, learner=learner, after_epoch=see)
    return SimpleNamespace(folder=folder, learner=learner, result=result, seen=seen)


def rows(folder, column):
    with (folder / "metrics.csv").open() as file:
        return [float(row[column]) for row in csv.DictReader(file)]


def state(folder):
    """Everything in the latest checkpoint that is no clock and no count of savings."""
    reader = tf.train.load_checkpoint(tf.train.latest_checkpoint(str(folder / "checkpoints")))
    return {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if not any(word in name for word in ("seconds", "save_counter", "OBJECT_GRAPH"))
    }


def assert_same(folder, other):
    found, expected = state(folder), state(other)
    assert found.keys() == expected.keys()
    for name, value in found.items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)
    assert (folder / "metrics.csv").read_text() == (other / "metrics.csv").read_text()


def test_a_run_that_is_stopped_wherever_it_may_be_ends_like_one_that_was_not(
    uninterrupted, tmp_path
):
    for place, stop in {
        "after meta-step 3 ": Signal(3),  # inside an epoch
        "after meta-step 4 ": Signal(1),  # at its last step
        "after meta-step 8 ": Signal(4, during_validation=True),
        "after meta-step 9 ": Signal(1),
    }.items():
        with pytest.raises(Stopped, match=f"by a signal {place}of 12; saved in"):
            start_run(tmp_path, callbacks=[stop])
    start_run(tmp_path, callbacks=[Signal(3)])  # at the last step of the run, which ends
    learner, result = start_run(tmp_path)
    assert_same(tmp_path, uninterrupted.folder)
    expected = uninterrupted.result
    assert (result.best, result.best_epoch) == (expected.best, expected.best_epoch)
    for one, other in zip(learner.weights, uninterrupted.learner.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_a_run_that_is_killed_while_it_writes_loses_nothing(uninterrupted, tmp_path):
    class Kill(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise SystemError("killed")

    with pytest.raises(SystemError):
        start_run(tmp_path, callbacks=[Kill()])
    assert len(rows(tmp_path, "epoch")) == 2, "between the rows and the checkpoint"
    with pytest.raises(Stopped):
        start_run(tmp_path, callbacks=[Signal(2)])
    # Inside a checkpoint: the data of the next one without its index.
    checkpoints = tmp_path / "checkpoints"
    data = next(checkpoints.glob("state-6.data*"))
    shutil.copy(data, checkpoints / data.name.replace("state-6", "state-8"))
    (checkpoints / "state-8_temp").mkdir()
    start_run(tmp_path)
    assert_same(tmp_path, uninterrupted.folder)


def test_the_model_is_the_one_that_validation_chose(uninterrupted):
    accuracies, result = rows(uninterrupted.folder, "val_accuracy"), uninterrupted.result
    assert accuracies[0] < max(accuracies) > accuracies[-1], "or this says nothing"
    assert result.best == pytest.approx(max(accuracies))
    assert result.best_epoch == int(np.argmax(accuracies)) + 1
    model = keras.saving.load_model(uninterrupted.folder / "model.keras")
    tasks = make_tasks("validation")
    model.compile(loss=LOSS, metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")])
    reached = model.evaluate(tasks, steps=2, verbose=0, return_dict=True)["accuracy"]
    assert reached == pytest.approx(result.best)
    inputs, _ = tasks.batch(0)
    np.testing.assert_array_equal(model(inputs), uninterrupted.learner(inputs))


def test_training_improves_and_writes_its_files(uninterrupted):
    folder = uninterrupted.folder
    assert uninterrupted.result.meta_steps == 12
    names = {"checkpoints", "metrics.csv", "timing.csv", "tensorboard", "model.keras"}
    assert {path.name for path in folder.iterdir()} >= names
    assert "seconds" not in (folder / "metrics.csv").read_text().splitlines()[0]
    assert len((folder / "timing.csv").read_text().splitlines()) == 4
    losses = rows(folder, "loss")
    assert losses[-1] < losses[0]


def test_after_an_epoch_the_learner_has_the_weights_that_were_validated(uninterrupted):
    assert [epoch for epoch, _ in uninterrupted.seen] == [0, 1, 2]
    expected = rows(uninterrupted.folder, "val_loss")
    assert [loss for _, loss in uninterrupted.seen] == pytest.approx(expected, rel=1e-5)


class Spoil(keras.callbacks.Callback):
    """Makes a weight NaN before or after a meta-step, and stops the run then if asked to."""

    def __init__(self, done, *, before=False, stop=False):
        super().__init__()
        self._done, self._before, self._stop = done, before, stop

    def on_train_batch_begin(self, batch, logs=None):
        if self._before:
            self._spoil()

    def on_train_batch_end(self, batch, logs=None):
        if not self._before:
            self._spoil()

    def _spoil(self):
        if self.model.optimizer.iterations.numpy() == self._done:
            kernel = self.model.trainable_variables[0]
            kernel.assign(kernel * np.nan)
            if self._stop:
                os.kill(os.getpid(), signal.SIGINT)


def test_nan_stops_the_run_and_keeps_the_last_good_checkpoint(tmp_path):
    for spoil, said in [
        (Spoil(6, before=True), "the loss is nan at meta-step 7.*inner_step_size=0.1.*state-4"),
        (Spoil(6, stop=True), "the weight .*kernel is nan at meta-step 6.*state-4"),
        # Validation, which sees the averages, and the loss of the meta-step are still finite.
        (Spoil(8), "the weight .*kernel is nan at meta-step 8.*state-4"),
    ]:
        with pytest.raises(Diverged, match=said):
            start_run(tmp_path, callbacks=[spoil])
        assert all(np.isfinite(value).all() for value in state(tmp_path).values())
    start_run(tmp_path)
    assert (tmp_path / "model.keras").exists()


def test_another_networks_checkpoint_is_refused(uninterrupted, tmp_path):
    shutil.copytree(uninterrupted.folder, tmp_path / "copy")
    learner = make_learner(learned_inner_step_size="scalar")
    with pytest.raises(ValueError, match="does not fit"):
        start_run(tmp_path / "copy", learner=learner)
