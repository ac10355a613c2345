"""Glyphs: the classes, their split and where they are built."""

import collections
import os
import unicodedata

import numpy as np
import pytest

from anil_tf.episodes import (
    DataError,
    glyph_classes,
    glyph_drawing,
    glyphs,
    load,
    prepared,
    registry,
)

SETTINGS = dict(ways=5, shots=1, queries=15, meta_batch_size=2, seed=0)


@pytest.fixture(scope="module")
def classes():
    return glyph_classes.glyph_classes()


@pytest.fixture(scope="module", params=[8, pytest.param(1, marks=pytest.mark.slow)])
def some(classes, request):
    """One class of eight, for speed; marked slow, all of them."""
    return classes[:: request.param]


@pytest.fixture(scope="module")
def built(some, tmp_path_factory):
    """The data set, built from the classes found above."""
    folder = tmp_path_factory.mktemp("tfds")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(glyph_classes, "glyph_classes", lambda: some)
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        glyphs.load("test", str(folder))
    return folder


@pytest.fixture
def few(classes, monkeypatch, tmp_path):
    """Makes a build quick, and keeps it out of the real cache."""
    some = [glyph for glyph in classes if glyph.split == "test"][:3]
    some += [glyph for glyph in classes if glyph.split == "validation"][:3]
    some += [glyph for glyph in classes if glyph.split == "train"][:6]
    monkeypatch.setattr(glyph_classes, "glyph_classes", lambda: some)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for cache in (glyphs._builder, registry._shared_source):
        cache.cache_clear()
    yield some
    for cache in (glyphs._builder, registry._shared_source):
        cache.cache_clear()


def test_there_are_a_thousand_classes_in_several_faces(classes):
    counts = collections.Counter(glyph.split for glyph in classes)
    assert len(classes) > 1000
    assert counts["train"] > 700
    assert counts["validation"] > 60
    assert counts["test"] > 120
    assert min(len(glyph.stencils) for glyph in classes) >= 4
    assert len({glyph.name for glyph in classes}) == len(classes)


@pytest.mark.parametrize(
    "alike",
    ["A\N{GREEK CAPITAL LETTER ALPHA}\N{CYRILLIC CAPITAL LETTER A}"]
    + ["cC", "oO", "sS", "vV", "wW", "xX", "zZ"]
    + ["o\N{GREEK SMALL LETTER OMICRON}\N{CYRILLIC SMALL LETTER O}\N{ARMENIAN SMALL LETTER OH}"]
    + ["u\N{ARMENIAN SMALL LETTER SEH}", "h\N{ARMENIAN SMALL LETTER HO}"]
    + ["l\N{CYRILLIC LETTER PALOCHKA}\N{HEBREW LETTER VAV}\N{ARABIC LETTER ALEF}"]
    + ["V\N{CANADIAN SYLLABICS PE}", "L\N{LISU LETTER LA}\N{ARMENIAN CAPITAL LETTER LIWN}"],
)
def test_letters_that_look_alike_are_one_class(classes, alike):
    class_of = {letter: glyph for glyph in classes for letter in glyph.letters}
    assert len({class_of[letter].name for letter in alike}) == 1
    assert class_of[alike[0]].split == "train"


@pytest.mark.parametrize("different", ["OQ", "EF", "eco", "bhk", "nu", "pP", "CGO", "ij"])
def test_letters_that_differ_are_not(classes, different):
    class_of = {letter: glyph.name for glyph in classes for letter in glyph.letters}
    assert len({class_of[letter] for letter in different}) == len(different)


def test_splits_hold_whole_scripts(classes):
    for glyph in classes:
        scripts = {unicodedata.name(letter).split()[0] for letter in glyph.letters}
        if glyph.split != "train":
            assert scripts <= set(glyph_classes.SCRIPTS[glyph.split])
        else:
            assert scripts & set(glyph_classes.SCRIPTS["train"])


def test_no_held_out_stencil_looks_like_a_training_stencil(classes):
    """Another measure than the one that merged them: the cosine of unblurred ink."""

    def ink(keep):
        stencils = [s for glyph in classes if keep(glyph) for s in glyph.stencils]
        rows = np.stack([np.asarray(s.reduce(2), np.float32).ravel() for s in stencils])
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    training = ink(lambda glyph: glyph.split == "train")
    held_out = ink(lambda glyph: glyph.split != "train")
    assert (held_out @ training.T).max() < 0.975


def test_no_test_drawing_is_among_the_training_drawings(built):
    def drawings(split):
        images = glyphs.load(split, str(built)).images.numpy()
        return {image.tobytes() for image in images}, len(images)

    (train, train_count), (test, test_count), (validation, validation_count) = (
        drawings(split) for split in ("train", "test", "validation")
    )
    assert not train & test
    assert not train & validation
    # Nor is any drawing repeated inside a split.
    assert [len(train), len(test), len(validation)] == [train_count, test_count, validation_count]


def test_the_built_data_serve_tasks(built, some):
    for split in glyph_classes.SCRIPTS:
        tasks = load("glyphs", split=split, data_dir=str(built), **SETTINGS)
        expected = [glyph.name for glyph in some if glyph.split == split]
        assert tasks.class_names == tuple(expected)
        assert tasks.image_shape == (28, 28, 1)
        assert set(tasks.source.sizes) == {glyphs.DRAWINGS_PER_CLASS}
    images = tasks.source.images.numpy()
    assert images.max() == 255
    assert np.median(images) == 0
    assert images.max(axis=(1, 2, 3)).min() > 100


def test_one_shot_is_neither_trivial_nor_impossible(built):
    """Comparing raw pixels with the one support image is right more often than chance."""
    tasks = load("glyphs", split="test", data_dir=str(built), **SETTINGS)
    inputs, labels = tasks.replace(meta_batch_size=100).batch(0)
    support, query = (
        np.reshape(inputs[part], (100, -1, 784)).astype(np.float32)
        for part in ("support_images", "query_images")
    )
    unit = [rows / np.linalg.norm(rows, axis=-1, keepdims=True) for rows in (support, query)]
    nearest = np.einsum("tqp,tsp->tqs", unit[1], unit[0]).argmax(-1)
    assert 0.4 < (nearest == labels.numpy()).mean() < 0.75


def test_drawings_are_seeded(classes):
    def draw(seed):
        return list(glyph_drawing.drawings(classes[0].stencils, 3, np.random.default_rng(seed)))

    np.testing.assert_array_equal(draw(1), draw(1))
    assert np.any(np.asarray(draw(1)) != np.asarray(draw(2)))


def test_the_chosen_directory_is_used_once_and_quietly(few, tmp_path, capsys):
    folder = tmp_path / "chosen"
    folder.mkdir()
    tasks = load("glyphs", split="train", data_dir=str(folder), **SETTINGS)
    assert len(tasks.class_names) == 6
    assert (folder / "glyphs" / "1.0.0" / "dataset_info.json").is_file()
    assert not (tmp_path / "cache").exists()
    assert capsys.readouterr().out == ""


def test_a_read_only_directory_falls_back_to_the_users_cache(few, tmp_path, monkeypatch):
    folder = tmp_path / "locked"
    folder.mkdir()
    os.chmod(folder, 0o555)
    said = []
    monkeypatch.setattr(glyphs.logging, "warning", lambda text, *words: said.append(text % words))
    tasks = load("glyphs", split="train", data_dir=str(folder), **SETTINGS)
    assert len(tasks.class_names) == 6
    assert not list(folder.iterdir())
    cached = tmp_path / "cache" / "anil_tf" / "tfds" / "glyphs"
    assert cached.is_dir()
    assert any(str(cached) in line and str(folder) in line for line in said)


def test_a_write_that_fails_falls_back_too(few, tmp_path, monkeypatch):
    folder = tmp_path / "full"
    folder.mkdir()
    draw = glyphs._draw

    def failing_there(builder):
        if str(builder.data_dir).startswith(str(folder)):
            raise OSError(28, "No space left on device")
        return draw(builder)

    monkeypatch.setattr(glyphs, "_draw", failing_there)
    glyphs.load("train", str(folder))
    assert prepared.is_on_disk(glyphs.Glyphs(data_dir=str(tmp_path / "cache/anil_tf/tfds")))


def test_nowhere_to_write_is_one_line(few, tmp_path, monkeypatch):
    def failing(builder):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(glyphs, "_draw", failing)
    with pytest.raises(DataError, match="Read-only file system.*writable directory") as caught:
        glyphs.load("train", str(tmp_path))
    assert "\n" not in str(caught.value)
