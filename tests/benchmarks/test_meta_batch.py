"""The file from which all frameworks start."""

import numpy as np
import pytest

from benchmarks import meta_batch

SIZES = {"tasks": 2, "ways": 3, "shots": 2, "queries": 4, "side": 32, "filters": 5}


def _written(path, **sizes):
    meta_batch.write(path, **(SIZES | sizes))
    with np.load(path) as loaded:
        return dict(loaded)


@pytest.fixture
def arrays(tmp_path):
    return _written(tmp_path / "batch.npz")


def test_shapes_and_types_are_those_that_the_steps_expect(arrays):
    shapes = {
        "support_images": (2, 6, 32, 32, 3),
        "support_labels": (2, 6),
        "query_images": (2, 12, 32, 32, 3),
        "query_labels": (2, 12),
        "kernel_0": (3, 3, 3, 5),
        **{f"kernel_{i}": (3, 3, 5, 5) for i in (1, 2, 3)},
        **{f"{name}_{i}": (5,) for name in ("gamma", "beta") for i in range(4)},
        "head_kernel": (2 * 2 * 5, 3),
        "head_bias": (3,),
    }
    assert {name: array.shape for name, array in arrays.items()} == shapes
    for name, array in arrays.items():
        assert array.dtype == (np.int32 if name.endswith("labels") else np.float32), name


def test_queries_resemble_the_support_of_their_class_and_each_class_has_its_share(arrays):
    for part, count in (("support", SIZES["shots"]), ("query", SIZES["queries"])):
        images = arrays[f"{part}_images"]
        assert images.min() >= 0 and images.max() <= 255 and images.std() > 30
        for labels in arrays[f"{part}_labels"]:
            assert np.bincount(labels).tolist() == [count] * SIZES["ways"]
    for task in range(SIZES["tasks"]):
        support, query = (arrays[f"{part}_images"][task] for part in ("support", "query"))
        distances = np.abs(query[:, None] - support[None]).mean(axis=(2, 3, 4))
        nearest = arrays["support_labels"][task][distances.argmin(axis=1)]
        np.testing.assert_array_equal(nearest, arrays["query_labels"][task])


def test_the_same_seed_gives_the_same_file_and_another_seed_another(tmp_path):
    first, second, third = (tmp_path / f"{name}.npz" for name in ("first", "second", "third"))
    arrays, other = _written(first, seed=1), _written(third, seed=2)
    _written(second, seed=1)
    assert first.read_bytes() == second.read_bytes()
    for name in ("support_images", "query_images", "kernel_0", "head_kernel"):
        assert not np.array_equal(arrays[name], other[name]), name


def test_weights_are_in_the_range_of_glorots_uniform_initializer(tmp_path):
    arrays = _written(tmp_path / "batch.npz", filters=32)
    for i, inputs in enumerate((3, 32, 32, 32)):
        bound = np.sqrt(6 / (9 * (inputs + 32)))
        kernel = arrays[f"kernel_{i}"]
        assert np.abs(kernel).max() <= bound
        assert kernel.std() == pytest.approx(bound / np.sqrt(3), rel=0.05)
        assert (arrays[f"gamma_{i}"] == 1).all() and (arrays[f"beta_{i}"] == 0).all()
