"""The state of a task under names, and back."""

import numpy as np
import pytest
import tensorflow as tf

from anil_tf.deploy.state import state_layout
from tests.deploy.learners import SETTINGS, learner_of, pixels
from tests.learners import WAYS


@pytest.mark.parametrize("normalization", ["support", "running"])
@pytest.mark.parametrize("kind", SETTINGS)
def test_a_state_comes_back_from_its_names(kind, normalization):
    learner = learner_of(kind)
    layout = state_layout(learner, normalization)
    images, labels, _ = pixels()
    state = learner.task_state(
        tf.cast(images, tf.float32), tf.constant(labels), WAYS, normalization
    )
    named = layout.pack(state)
    back = layout.unpack(named)
    tf.nest.assert_same_structure(back, state)
    for one, other in zip(tf.nest.flatten(back), tf.nest.flatten(state), strict=True):
        np.testing.assert_array_equal(one, other)
    assert all(name.isidentifier() for name in named)
    for tensor in layout.tensors:
        assert named[tensor.name].dtype == tensor.dtype
        assert named[tensor.name].shape.is_compatible_with(tensor.shape)


def test_names_say_what_the_tensors_are():
    names = [tensor.name for tensor in state_layout(learner_of("free"), "support").tensors]
    moments = [f"body_{moment}_{i}" for i in range(4) for moment in ("mean", "variance")]
    assert names == ["kernel", "bias", *moments]
    deep = [tensor.name for tensor in state_layout(learner_of("MAML"), "running").tensors]
    assert len(set(deep)) == len(deep)
    assert "logits_kernel" in deep and not any(name.startswith("body") for name in deep)


def test_only_ways_are_left_open_and_only_where_the_head_takes_any_number():
    for kind, bias in [("free", (WAYS,)), ("zero", (None,)), ("ridge", (None,)), ("nil", (None,))]:
        tensors = {
            tensor.name: tensor.shape
            for tensor in state_layout(learner_of(kind), "support").tensors
        }
        assert tensors["bias"] == bias
        assert tensors["kernel"][1:] == bias and tensors["kernel"][0] is not None
        assert tensors["body_mean_0"] == (4,)
