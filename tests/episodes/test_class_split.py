"""Published lists and splits by seed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anil_tf.episodes import DataError, class_split

COUNTS = {
    "cifar_fs": (64, 16, 20),
    "fc100": (60, 20, 20),
    "omniglot_vinyals": (1028, 172, 423),
    "mini_imagenet": (64, 16, 20),
}


@pytest.mark.parametrize("name", COUNTS)
def test_published_lists_are_complete_disjoint_and_sourced(name):
    lists = class_split.published(name)
    splits = lists["splits"]
    assert list(splits) == list(class_split.SPLITS)
    assert tuple(len(splits[split]) for split in class_split.SPLITS) == COUNTS[name]
    everything = [label for split in splits.values() for label in split]
    assert len(set(everything)) == len(everything)
    assert lists["reference"]
    assert lists["source"]


@pytest.mark.parametrize("name", COUNTS)
def test_the_packages_copies_agree_with_the_published_lists(name, repository):
    original = repository.parent / "shared" / "splits" / f"{name}.json"
    if not original.is_file():
        pytest.skip(f"{original} is not here")
    published = json.loads(original.read_text())["splits"]
    names = {"train": "train", "validation": "val", "test": "test"}
    for split, labels in class_split.published(name)["splits"].items():
        theirs = published[names[split]]
        assert sorted(labels) == sorted(theirs.get("labels", theirs.get("wnids")))


@given(count=st.integers(3, 300), seed=st.integers(0, 2**32))
def test_a_split_by_seed_is_a_partition(count, seed):
    names = [str(index) for index in range(count)]
    parts = [class_split.by_seed(names, split, seed, "it") for split in class_split.SPLITS]
    assert sorted(index for part in parts for index in part) == list(range(count))
    assert all(parts)
    assert all(part == sorted(part) for part in parts)


def test_a_split_by_seed_has_the_usual_shares_and_depends_on_the_seed():
    names = [str(index) for index in range(100)]
    sizes = [len(class_split.by_seed(names, split, 0, "it")) for split in class_split.SPLITS]
    assert sizes == [64, 16, 20]
    assert class_split.by_seed(names, "test", 0, "it") != class_split.by_seed(
        names, "test", 1, "it"
    )


def test_two_classes_cannot_be_split():
    with pytest.raises(DataError, match=r"it has 2 class\(es\) \(a, b\)"):
        class_split.by_seed(["a", "b"], "train", 0, "it")
