"""Whole runs: exact resume at any meta-step, the best weights, and divergence."""

import csv
import os
import shutil
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf

from anil_tf.training import Diverged, Stopped


class _Signal(keras.callbacks.Callback):
    """Sends this process a signal after some meta-steps, or during a validation."""

    def __init__(self, after: int, during_validation: bool = False):
        super().__init__()
        self._after = after
        self._during_validation = during_validation
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
def uninterrupted(start_run, tmp_path_factory):
    """A run that nothing stopped: its directory, learner and result."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    learner, result = start_run(folder)
    return folder, learner, result


def _state(folder):
    """Everything in the latest checkpoint that is no clock and no count of savings."""
    reader = tf.train.load_checkpoint(tf.train.latest_checkpoint(str(folder / "checkpoints")))
    names = reader.get_variable_to_shape_map()
    return {
        name: reader.get_tensor(name)
        for name in names
        if not any(word in name for word in ("seconds", "save_counter", "OBJECT_GRAPH"))
    }


def _assert_same(folder, other):
    state, expected = _state(folder), _state(other)
    assert state.keys() == expected.keys()
    for name, value in state.items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)
    assert (folder / "metrics.csv").read_text() == (other / "metrics.csv").read_text()


@pytest.mark.parametrize(
    ("stops", "during_validation"),
    [([5, 2], False), ([4], False), ([8], True), ([12], False)],
    ids=["inside, twice", "last step of an epoch", "validation", "last step of the run"],
)
def test_a_stopped_run_ends_like_one_that_was_not(
    start_run, uninterrupted, tmp_path, stops, during_validation
):
    folder, learner, result = uninterrupted
    for after in stops:
        if after == 12:
            start_run(tmp_path, callbacks=[_Signal(after)])
        else:
            with pytest.raises(Stopped, match="by a signal after meta-step .* of 12; saved in"):
                start_run(tmp_path, callbacks=[_Signal(after, during_validation)])
    resumed, again = start_run(tmp_path)
    _assert_same(tmp_path, folder)
    assert (again.best, again.best_epoch) == (result.best, result.best_epoch)
    for one, other in zip(resumed.weights, learner.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_a_kill_between_the_rows_and_the_checkpoint_loses_nothing(
    start_run, uninterrupted, tmp_path
):
    class Kill(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise SystemError("killed")

    with pytest.raises(SystemError):
        start_run(tmp_path, callbacks=[Kill()])
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 3
    start_run(tmp_path)
    _assert_same(tmp_path, uninterrupted[0])


def test_a_kill_while_a_checkpoint_is_written_leaves_the_one_before(
    start_run, uninterrupted, tmp_path
):
    with pytest.raises(Stopped):
        start_run(tmp_path, callbacks=[_Signal(6)])
    # What a kill leaves behind: the next checkpoint's data without its index.
    checkpoints = tmp_path / "checkpoints"
    data = next(checkpoints.glob("state-6.data*"))
    shutil.copy(data, checkpoints / data.name.replace("state-6", "state-8"))
    (checkpoints / "state-8_temp").mkdir()
    start_run(tmp_path)
    _assert_same(tmp_path, uninterrupted[0])


def test_the_model_is_the_one_that_validation_chose(uninterrupted, make_tasks):
    folder, learner, result = uninterrupted
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    accuracies = [float(row["val_accuracy"]) for row in rows]
    assert result.best == pytest.approx(max(accuracies))
    assert result.best_epoch == int(np.argmax(accuracies)) + 1
    model = keras.saving.load_model(folder / "model.keras")
    tasks = make_tasks("validation")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(loss=loss, metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")])
    reached = model.evaluate(tasks, steps=2, verbose=0, return_dict=True)["accuracy"]
    assert reached == pytest.approx(result.best)
    inputs, _ = tasks.batch(0)
    np.testing.assert_array_equal(model(inputs), learner(inputs))


def test_training_improves_and_writes_its_files(uninterrupted):
    folder, _, result = uninterrupted
    assert result.meta_steps == 12
    assert {p.name for p in folder.iterdir()} >= {
        "checkpoints",
        "metrics.csv",
        "timing.csv",
        "tensorboard",
        "model.keras",
    }
    header = (folder / "metrics.csv").read_text().splitlines()[0]
    assert "seconds" not in header
    assert len((folder / "timing.csv").read_text().splitlines()) == 4
    with (folder / "metrics.csv").open() as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert losses[-1] < losses[0]


def test_after_an_epoch_the_learner_has_the_weights_that_were_validated(
    start_run, make_learner, make_tasks, uninterrupted, tmp_path
):
    learner, seen = make_learner(), []
    batches = [make_tasks("validation").batch(step) for step in range(2)]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def see(epoch):
        losses = [loss(labels, learner(inputs, training=False)) for inputs, labels in batches]
        seen.append((epoch, float(np.mean(losses))))

    start_run(tmp_path, learner=learner, after_epoch=see)
    with (tmp_path / "metrics.csv").open() as file:
        expected = [float(row["val_loss"]) for row in csv.DictReader(file)]
    assert [epoch for epoch, _ in seen] == [0, 1, 2]
    assert [value for _, value in seen] == pytest.approx(expected, rel=1e-5)
    _assert_same(tmp_path, uninterrupted[0])  # and looking changed nothing


class _Spoil(keras.callbacks.Callback):
    """Makes a weight NaN before or after a meta-step, and stops the run then if asked to."""

    def __init__(self, done: int, *, before: bool = False, stop: bool = False):
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


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_Spoil(6, before=True), "the loss is nan at meta-step 7.*inner_step_size=0.1.*state-4"),
        # Validation, which sees the averages, and the loss of the meta-step are still finite.
        (_Spoil(8), "the weight .*kernel is nan at meta-step 8.*state-4"),
        (_Spoil(6, stop=True), "the weight .*kernel is nan at meta-step 6.*state-4"),
    ],
    ids=["inside an epoch", "after its last step", "before a stop"],
)
def test_nan_stops_the_run_and_keeps_the_last_good_checkpoint(start_run, tmp_path, spoil, said):
    with pytest.raises(Diverged, match=said):
        start_run(tmp_path, callbacks=[spoil])
    assert all(np.isfinite(value).all() for value in _state(tmp_path).values())
    start_run(tmp_path)
    assert (tmp_path / "model.keras").exists()


def test_another_networks_checkpoint_is_refused(start_run, make_learner, uninterrupted, tmp_path):
    shutil.copytree(uninterrupted[0], tmp_path / "copy")
    learner = make_learner(learned_inner_step_size="scalar")
    with pytest.raises(ValueError, match="does not fit"):
        start_run(tmp_path / "copy", learner=learner)
