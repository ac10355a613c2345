"""The state of a task under names."""

from anil_tf.deploy.state import state_layout
from tests.deploy.learners import WAYS, learner_of


def shapes(kind, normalization="support"):
    tensors = state_layout(learner_of(kind), normalization).tensors
    assert len({tensor.name for tensor in tensors}) == len(tensors)
    assert all(tensor.name.isidentifier() for tensor in tensors)
    return {tensor.name: tensor.shape for tensor in tensors}


def test_names_say_what_the_tensors_are():
    moments = [f"body_{moment}_{i}" for i in range(2) for moment in ("mean", "variance")]
    assert list(shapes("free")) == ["kernel", "bias", *moments]
    assert list(shapes("free", "running")) == ["kernel", "bias"]
    deep = shapes("MAML", "running")
    assert "logits_kernel" in deep and not any(name.startswith("body") for name in deep)


def test_only_ways_are_left_open_and_only_where_the_head_takes_any_number():
    for kind, ways in [("free", WAYS), ("zero", None), ("ridge", None), ("nil", None)]:
        found = shapes(kind)
        assert found["bias"] == (ways,)
        assert found["kernel"][1] == ways and found["kernel"][0] is not None
        assert found["body_mean_0"] == (4,)
