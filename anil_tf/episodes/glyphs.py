"""Glyphs: over a thousand letters drawn from the fonts that matplotlib ships; no download."""

from __future__ import annotations

import functools
import os
import pathlib
import stat
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from anil_tf.episodes import glyph_classes, glyph_drawing, prepared
from anil_tf.episodes.class_images import ClassImages, from_labels
from anil_tf.episodes.errors import DataError

DRAWINGS_PER_CLASS = 20
_SEED = 20200617  # of the drawings; another one would be another data set


class Glyphs(tfds.core.GeneratorBasedBuilder):
    """28x28 drawings of letters, ink = 255, 20 per class; splits hold different scripts."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}

    def _info(self) -> tfds.core.DatasetInfo:
        side = glyph_drawing.SIDE
        return tfds.core.DatasetInfo(
            builder=self,
            description=(
                "Letters of many scripts in the DejaVu and STIX fonts, drawn with varied face,"
                " slant, turn, size, place and stroke. Letters that look alike are one class."
            ),
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(side, side, 1)),
                    # The names are set while the classes are found, and come with the data later.
                    "label": tfds.features.ClassLabel(),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://matplotlib.org/",
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        del dl_manager  # nothing to download
        classes = glyph_classes.glyph_classes()
        self.info.features["label"].names = [glyph.name for glyph in classes]
        return {split: self._generate_examples(classes, split) for split in glyph_classes.SCRIPTS}

    def _generate_examples(
        self, classes: list[glyph_classes.GlyphClass], split: str
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        for label, glyph in enumerate(classes):
            if glyph.split != split:
                continue
            generator = np.random.default_rng([_SEED, label])
            drawn = glyph_drawing.drawings(glyph.stencils, DRAWINGS_PER_CLASS, generator)
            for index, image in enumerate(drawn):
                yield label * DRAWINGS_PER_CLASS + index, {"image": image, "label": label}


def load(split: str, data_dir: str | None) -> ClassImages:
    """Loads one split of the glyphs, uint8 [drawings, 28, 28, 1].

    They are drawn first where that was not done before, in the user's cache where `data_dir` cannot be written.
    """
    builder = _builder(prepared.directory(data_dir))
    images, labels = prepared.decode(builder, split)
    scripts = ", ".join(script.capitalize() for script in glyph_classes.SCRIPTS[split])
    classes = np.unique(labels).tolist()
    description = (
        f"split by script ({split}: {scripts.replace('Old', 'Old Italic')}; {len(classes)}"
        " classes), letters that look alike merged before the split"
    )
    return from_labels(images, labels, classes, builder.info.features["label"].names, description)


@functools.lru_cache(maxsize=8)
def _builder(data_dir: str | None) -> tfds.core.DatasetBuilder:
    """A builder whose drawings are on disk: in TFDS' directory, else in the user's cache."""
    wanted = Glyphs(data_dir=data_dir)
    cached = Glyphs(data_dir=_cache())
    for builder in (wanted, cached):
        if prepared.is_on_disk(builder):
            return builder
    if _writable(wanted.data_dir):
        try:
            return _draw(wanted)
        except OSError as error:
            logging.warning("%s", error)
    logging.warning(
        "%s cannot be written: the glyphs are drawn in %s.", wanted.data_dir, cached.data_dir
    )
    try:
        return _draw(cached)
    except OSError as error:
        raise DataError(
            f"the glyphs can be written neither to {wanted.data_dir} nor to {cached.data_dir}"
            f" ({error}); give a writable directory with --data_dir or TFDS_DATA_DIR."
        ) from error


def _draw(builder: tfds.core.DatasetBuilder) -> tfds.core.DatasetBuilder:
    logging.info("Drawing the glyphs in %s; this takes some seconds, once.", builder.data_dir)
    try:
        with prepared.quiet():
            builder.download_and_prepare()
    except OSError:
        # Another process may have finished the same work first.
        if not prepared.is_on_disk(builder):
            raise
    return type(builder)(data_dir=builder.data_dir_root)


def _cache() -> str:
    """The user's cache directory for TFDS data of this package."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(home, "anil_tf", "tfds")


def _writable(path: str) -> bool:
    """Whether the nearest existing folder of `path` may be written.

    A folder without any write permission bit counts as read-only for root too, who is not
    stopped by it but should respect it.
    """
    folder = pathlib.Path(path)
    while not folder.exists():
        folder = folder.parent
    marked = stat.S_IMODE(folder.stat().st_mode) & 0o222
    return bool(marked) and os.access(folder, os.W_OK | os.X_OK)
