"""Scales, and the checkpoints that follow from them."""

import pytest

from anil_tf.study.scale import SCALES
from anil_tf.study.training import checkpoint_steps


def test_scales_are_named_and_grow():
    assert [scale.name for scale in SCALES.values()] == list(SCALES)
    assert set(SCALES) >= {"smoke", "small", "full"}
    smoke, small, full = (SCALES[name] for name in ("smoke", "small", "full"))
    for name in ("meta_steps", "meta_batch_size", "filters", "evaluation_tasks", "checkpoints"):
        assert getattr(smoke, name) < getattr(small, name) < getattr(full, name), name
    for scale in SCALES.values():
        assert len(scale.seeds) >= 2, "an interval needs two"
        assert scale.maml_meta_steps <= scale.meta_steps


def test_small_is_the_size_that_was_asked_for():
    small = SCALES["small"]
    assert len(small.seeds) == 3 and small.meta_steps <= 300 and small.queries == 5
    assert small.inner_steps == (1, 3, 5, 7, 10, 20)
    assert small.meta_batch_sizes == (1, 2, 4, 8, 16, 32)
    assert small.maml_meta_steps == 100 and small.timing_steps == 30


@pytest.mark.parametrize("scale", SCALES.values(), ids=lambda scale: scale.name)
def test_checkpoints_go_from_start_to_end_and_are_denser_at_the_start(scale):
    steps = checkpoint_steps(scale.meta_steps, scale.checkpoints)
    assert (steps[0], steps[-1], len(steps)) == (0, scale.meta_steps, scale.checkpoints)
    gaps = [after - before for before, after in zip(steps, steps[1:], strict=False)]
    assert min(gaps) > 0 and gaps == sorted(gaps)


def test_checkpoints_that_fall_together_are_one():
    assert checkpoint_steps(2, 6) == [0, 1, 2]
    with pytest.raises(ValueError, match="2 or more"):
        checkpoint_steps(10, 1)
