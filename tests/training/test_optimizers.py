"""The outer optimizer: two step sizes that act, joint clipping, decay, schedules, saving."""

import keras
import numpy as np
import pytest

from anil_tf.config.outer_loop import OuterLoop
from anil_tf.training import OuterOptimizer, optimizers
from tests.training.small_runs import make_learner


def _gradients(learner, scale=1.0):
    random = np.random.default_rng(5)
    # Away from zero, where Adam's epsilon would show.
    values = [random.uniform(0.5, 2, v.shape) for v in learner.trainable_variables]
    signs = [random.choice([-1, 1], value.shape) for value in values]
    pairs = zip(values, signs, strict=True)
    return [keras.ops.convert_to_tensor(scale * v * s, "float32") for v, s in pairs]


def _moves(learner, optimizer, gradients):
    """How far one step moves each variable."""
    before = [v.numpy() for v in learner.trainable_variables]
    optimizer.apply(gradients, learner.trainable_variables)
    after = [v.numpy() for v in learner.trainable_variables]
    return [new - old for new, old in zip(after, before, strict=True)]


def _of(learner, moves, variables):
    wanted = {id(v) for v in variables}
    pairs = zip(learner.trainable_variables, moves, strict=True)
    return np.concatenate([move.ravel() for v, move in pairs if id(v) in wanted])


def test_adam_moves_body_and_head_by_their_own_step_sizes():
    # Adam's first step is the step size itself, whatever the gradient: a scaled gradient, in the
    # place of a second optimizer, would move the head as far as the body.
    learner = make_learner()
    optimizer = optimizers.build(
        learner, OuterLoop(outer_step_size_body=1e-3, outer_step_size_head=5e-2)
    )
    moves = _moves(learner, optimizer, _gradients(learner))
    np.testing.assert_allclose(np.abs(_of(learner, moves, learner.body_variables)), 1e-3, rtol=1e-2)
    np.testing.assert_allclose(np.abs(_of(learner, moves, learner.head_variables)), 5e-2, rtol=1e-2)
    assert optimizer.step_sizes() == pytest.approx({"head": 5e-2, "body": 1e-3})


@pytest.mark.parametrize("scale", [0.01, 10.0])
def test_clipping_is_by_the_joint_norm(scale):
    learner = make_learner()
    optimizer = optimizers.build(
        learner,
        OuterLoop(
            optimizer="sgd", outer_step_size_body=1.0, outer_step_size_head=0.5, clip_norm=2.0
        ),
    )
    gradients = _gradients(learner, scale)
    moves = _moves(learner, optimizer, gradients)
    norm = np.sqrt(sum(np.sum(g.numpy() ** 2) for g in gradients))
    factor = min(1.0, 2.0 / norm)
    head = {id(v) for v in learner.head_variables}
    for variable, move, gradient in zip(learner.trainable_variables, moves, gradients, strict=True):
        size = 0.5 if id(variable) in head else 1.0
        np.testing.assert_allclose(move, -size * factor * gradient.numpy(), rtol=1e-4, atol=1e-6)


def test_a_missing_gradient_is_passed_over_by_clipping():
    learner = make_learner()
    optimizer = optimizers.build(learner, OuterLoop(optimizer="sgd", clip_norm=1.0))
    gradients = _gradients(learner)
    gradients[1] = None
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        moves = _moves(learner, optimizer, gradients)
    assert not moves[1].any()
    assert moves[0].any()


def test_weight_decay_leaves_vectors_and_step_sizes_alone():
    learner = make_learner(learned_inner_step_size="per_variable")
    optimizer = optimizers.build(
        learner,
        OuterLoop(
            optimizer="sgd", outer_step_size_body=0.1, outer_step_size_head=0.2, weight_decay=0.5
        ),
    )
    before = [v.numpy() for v in learner.trainable_variables]
    moves = _moves(learner, optimizer, [g * 0.0 for g in _gradients(learner)])
    head = {id(v) for v in learner.head_variables}
    decayed = 0
    for variable, move, old in zip(learner.trainable_variables, moves, before, strict=True):
        if len(variable.shape) < 2 or "inner_step_size" in variable.path:
            assert not move.any(), variable.path
        else:
            size = 0.2 if id(variable) in head else 0.1
            np.testing.assert_allclose(move, -size * 0.5 * old, rtol=1e-5, atol=1e-7)
            decayed += 1
    assert decayed == 2


def _rate(learner, name, step, **options):
    optimizer = optimizers.build(
        learner, OuterLoop(outer_step_size_body=0.3, epochs=1, steps_per_epoch=100, **options)
    )
    optimizer.build(learner.trainable_variables)
    part = next(part for part in optimizer.optimizers if part.name == name)
    part.iterations.assign(step)
    return optimizer.step_sizes()[name]


def test_schedules():
    learner = make_learner()
    assert _rate(learner, "body", 99) == pytest.approx(0.3)
    assert _rate(learner, "body", 50, schedule="cosine") == pytest.approx(0.15)
    assert _rate(learner, "body", 100, schedule="cosine") == pytest.approx(0, abs=1e-7)
    for schedule in ("constant", "cosine"):
        options = {"schedule": schedule, "warmup_steps": 9}
        rising = [_rate(learner, "body", step, **options) for step in range(10)]
        np.testing.assert_allclose(rising, 0.3 * np.arange(1, 11) / 10, rtol=1e-5)
    assert _rate(learner, "body", 99, schedule="constant", warmup_steps=9) == pytest.approx(0.3)


@pytest.mark.filterwarnings("error::UserWarning")
def test_it_is_saved_and_loaded_with_its_state(tmp_path):
    learner = make_learner()
    optimizer = optimizers.build(
        learner,
        OuterLoop(
            outer_step_size_head=1e-2,
            clip_norm=1.0,
            schedule="cosine",
            epochs=1,
            steps_per_epoch=10,
        ),
    )
    learner.compile(optimizer=optimizer, loss="mse")
    _moves(learner, optimizer, _gradients(learner))
    learner.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.optimizer, OuterOptimizer)
    moves = _moves(learner, optimizer, _gradients(learner))
    again = _moves(loaded, loaded.optimizer, _gradients(loaded))
    for move, same in zip(moves, again, strict=True):
        np.testing.assert_array_equal(move, same)


def test_a_head_without_variables_leaves_the_body_to_its_optimizer():
    learner = make_learner(head_initialization="zero")
    assert not learner.head_variables
    optimizer = optimizers.build(learner, OuterLoop(outer_step_size_body=1e-3))
    moves = _moves(learner, optimizer, _gradients(learner))
    np.testing.assert_allclose(np.abs(np.concatenate([m.ravel() for m in moves])), 1e-3, rtol=1e-2)


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "adagrad"},
        {"schedule": "linear"},
        {"warmup_steps": 10, "epochs": 1, "steps_per_epoch": 10},
    ],
)
def test_bad_options_are_named(options):
    with pytest.raises(ValueError, match="expected "):
        optimizers.build(make_learner(), OuterLoop(**options))
