"""Training in memory: the meta-steps of a run, evaluations on the way, and divergence that is noted."""

import itertools
import math

import keras
import numpy as np
import tensorflow as tf

from anil_tf.config.outer_loop import OuterLoop
from anil_tf.training import compile_learner, meta_train, optimizers
from tests.training.small_runs import make_learner, make_tasks, start_run


def compiled(**options):
    learner = make_learner()
    compile_learner(learner, optimizers.build(learner, OuterLoop(**options)))
    return learner


def test_it_takes_the_very_meta_steps_of_a_run(tmp_path):
    options = {
        "schedule": "cosine",
        "clip_norm": 1.0,
        "weight_decay": 0.01,
        "outer_step_size_body": 0.2,
        "outer_step_size_head": 0.02,
    }
    learner = compiled(epochs=2, steps_per_epoch=4, **options)
    list(meta_train(learner, make_tasks().as_dataset(), evaluate_at=[8]))
    start_run(tmp_path, epochs=2, **options)
    reader = tf.train.load_checkpoint(tf.train.latest_checkpoint(str(tmp_path / "checkpoints")))
    for i, variable in enumerate(learner.variables):
        name = f"variables/{i}/.ATTRIBUTES/VARIABLE_VALUE"
        np.testing.assert_array_equal(variable.numpy(), reader.get_tensor(name))


def test_evaluations_see_the_learner_at_their_meta_step_and_change_nothing():
    tasks, batch = make_tasks(), make_tasks("validation").batch(0)
    learner = compiled()

    def evaluate():
        logits = learner(batch[0], training=False)
        losses = keras.losses.sparse_categorical_crossentropy(batch[1], logits, True)
        return {"loss": float(tf.reduce_mean(losses))}

    found = list(meta_train(learner, tasks.as_dataset(), evaluate_at=[0, 1, 5], evaluate=evaluate))
    assert [one.meta_step for one in found] == [0, 1, 5]
    assert [len(one.losses) for one in found] == [0, 1, 4]
    assert learner.optimizer.iterations.numpy() == 5
    assert found[2].measured == evaluate() != found[0].measured
    (bare,) = meta_train(compiled(), tasks.as_dataset(), evaluate_at=[5])
    assert bare.losses == found[1].losses + found[2].losses


def test_a_loss_that_is_not_finite_ends_the_training_and_is_noted():
    learner = compiled(optimizer="sgd", outer_step_size_body=1e30, outer_step_size_head=1e30)
    batches = itertools.repeat(make_tasks().batch(0))
    found = list(meta_train(learner, batches, evaluate_at=[0, 6, 9], evaluate=lambda: {"one": 1.0}))
    assert [one.diverged for one in found] == [False, True, True]
    assert [one.measured for one in found] == [{"one": 1.0}, {}, {}]
    assert len(found[1].losses) < 6 and not math.isfinite(found[1].losses[-1])
    assert found[2].losses == []


def test_a_measured_number_that_is_not_finite_ends_it_too():
    learner = compiled()
    tasks = make_tasks().as_dataset()
    found = list(meta_train(learner, tasks, evaluate_at=[1, 2], evaluate=lambda: {"x": math.nan}))
    assert [one.diverged for one in found] == [True, True]
    assert learner.optimizer.iterations.numpy() == 1
