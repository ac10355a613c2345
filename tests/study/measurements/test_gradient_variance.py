"""The variance of the meta-gradient at frozen parameters."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anil_tf.study.measurements import gradient_variance
from anil_tf.study.measurements.gradient_variance import Size, spread

SETTINGS = {
    "dataset": "glyphs",
    "data_dir": None,
    "body": "mlp",
    "filters": 6,
    "ways": 3,
    "shots": 1,
    "queries": 2,
    "meta_batch_size": 2,
    "adapted_layers": 1,
    "inner_steps": 2,
    "inner_step_size": 0.1,
    "inner_l2": 0.0,
    "differentiation": "explicit",
    "optimizer": "adam",
    "outer_step_size": 1e-3,
    "normalization": "episode",
    "meta_steps": 2,
    "seed": 0,
    "sizes": "1x1x2 8x1x2",
    "draws": 150,
}


def measured(**changes):
    rows = gradient_variance.run(SETTINGS | changes)
    return {(row["block"], row["measured_batch_size"]): row for row in rows}


def test_variance_and_squared_norm_are_unbiased():
    rng, truth = np.random.default_rng(0), np.array([0.3, -0.4])
    found = [spread((truth + rng.normal(size=[4, 2])).astype("float32")) for _ in range(4000)]
    # The mean of 4 vectors alone would say 0.25 + 2/4.
    for name, expected in {"variance": 2.0, "squared_norm": 0.25}.items():
        values = [one[name] for one in found]
        assert abs(np.mean(values) - expected) < 4 * np.std(values) / np.sqrt(len(found))


def test_it_is_exact_far_from_zero():
    vectors = np.array([[4096.0, 1.0], [4096.5, 3.0]], "float32")
    assert spread(vectors)["variance"] == 0.125 + 2.0


def test_one_draw_has_no_variance():
    with pytest.raises(ValueError, match="two draws or more, received 1"):
        spread(np.ones([1, 3]))


def test_the_variance_falls_as_one_over_the_tasks():
    rows = measured()
    assert set(rows) == {(block, size) for block in ("head", "body") for size in (1, 8)}
    for block in ("head", "body"):
        one, eight = rows[block, 1], rows[block, 8]
        assert one["parameters"] == eight["parameters"] > 0
        # 150 draws: the ratio has a relative error of at most sqrt(2 * 2 / 149) = 16 %.
        assert 8 / 1.5 < one["variance"] / eight["variance"] < 8 * 1.5


@pytest.fixture(scope="module")
def few():
    """Three draws of two sizes, of which one is not the size of the training."""
    return measured(draws=3, sizes="2x2x1 8x1x2")


def test_rows_are_reproducible_and_sizes_do_not_influence_each_other(few):
    alone = measured(draws=3, sizes="8x1x2")
    assert alone == {key: row for key, row in few.items() if key[1] == 8}


def test_the_size_measured_need_not_be_the_trained_one(few):
    row = few["head", 2]
    assert (row["measured_shots"], row["measured_queries"]) == (2, 1)
    assert row["parameters"] == few["head", 8]["parameters"]


def test_the_point_moves_with_training(few):
    start = measured(draws=3, sizes="8x1x2", meta_steps=0)
    assert start["head", 8]["variance"] != few["head", 8]["variance"]


@pytest.mark.parametrize("text", ["4x5", "0x5x5", "4x5x-1", "4x5xq"])
def test_a_size_that_means_nothing_is_refused(text):
    with pytest.raises(ValueError, match="expected a size such as 4x5x10"):
        Size.parse(text)


@given(st.tuples(*[st.integers(1, 99)] * 3))
def test_sizes_are_read_as_they_are_written(numbers):
    assert Size.parse(str(Size(*numbers))) == Size(*numbers)
