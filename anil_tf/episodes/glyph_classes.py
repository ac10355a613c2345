"""Which characters the glyphs data set has: same drawing, same class; split by script.

Characters are letters that several font faces can draw. Two letters that look the same in a face
once their size is taken away, such as Latin A, Greek Alpha and Cyrillic A, or c and C, are one
class. Whole scripts go to train, validation or test; a class with letters of two splits goes to
the earlier one, and a class of validation or test is left out if any face draws it as some face
draws a training class.
"""

from __future__ import annotations

import collections
import dataclasses
import pathlib
import unicodedata
from collections.abc import Iterable

import matplotlib
import numpy as np
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageFilter, ImageFont

SCRIPTS = {
    "train": ("LATIN", "GREEK", "CYRILLIC", "COPTIC", "LISU", "CANADIAN", "OLD"),  # Old Italic
    "validation": ("ARMENIAN", "LAO"),
    "test": ("GEORGIAN", "HEBREW", "ARABIC"),
}
_SPLIT_OF_SCRIPT = {script: split for split, scripts in SCRIPTS.items() for script in scripts}
_SPLIT_ORDER = list(SCRIPTS)
_FACES = ("DejaVuSans", "DejaVuSerif", "STIXGeneral")
_LEAST_FACES = 4
_LETTERS = ("Lu", "Ll", "Lt", "Lo")

INK_SIDE = 56  # the longer side of the ink in a stencil
STENCIL_SIDE = 64
_FONT_SIZE = 64
# Two drawings are the same if, slightly blurred, they differ by less than this share of full ink
# at every pixel: strokes of another width differ by up to 0.3, a missing bar or dot by over 0.4.
_SAME_DRAWING = 0.3
# The two cases of one letter get more leave, as small letters have the heavier strokes: c and C
# differ by 0.35, while p and P differ by 0.45.
_SAME_LETTER = 0.4
_MAY_BE_SAME = 0.93  # cosine below which drawings are not compared further


@dataclasses.dataclass(frozen=True)
class GlyphClass:
    """One class: letters that are drawn alike, and their drawings.

    Attributes:
        name: the Unicode name of the first letter.
        letters: all letters of the class.
        split: "train", "validation" or "test".
        stencils: for each face that has it, the ink of a letter in a 64x64 greyscale image.
    """

    name: str
    letters: str
    split: str
    stencils: tuple[Image.Image, ...]


def glyph_classes() -> list[GlyphClass]:
    """Finds all classes in matplotlib's fonts, in the order of their first letters; takes a few seconds."""
    stencils = {path: _stencils(path) for path in _font_files()}
    faces_of: dict[str, int] = collections.Counter(
        letter for drawn in stencils.values() for letter in drawn
    )
    letters = sorted(letter for letter, faces in faces_of.items() if faces >= _LEAST_FACES)
    vectors = {
        path: {letter: _comparable(drawn[letter]) for letter in letters if letter in drawn}
        for path, drawn in stencils.items()
    }
    groups = _merge(letters, vectors.values())
    split_of = {group: _split(group) for group in groups}
    seen = _drawn_in_training(split_of, vectors.values())
    return [
        GlyphClass(
            name=unicodedata.name(group[0]),
            letters=group,
            split=split_of[group],
            stencils=tuple(
                drawn[next(letter for letter in group if letter in drawn)]
                for drawn in stencils.values()
                if any(letter in drawn for letter in group)
            ),
        )
        for group in groups
        if group not in seen
    ]


def _font_files() -> list[pathlib.Path]:
    """The files of DejaVu and STIXGeneral; the display faces repeat the text faces."""
    folder = pathlib.Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return sorted(
        path
        for path in folder.glob("*.ttf")
        if path.name.startswith(_FACES) and "Display" not in path.name
    )


def _stencils(path: pathlib.Path) -> dict[str, Image.Image]:
    """The stencil of every letter of our scripts that a face has."""
    face = ImageFont.truetype(str(path), _FONT_SIZE, layout_engine=ImageFont.Layout.BASIC)
    drawn = {}
    for code in sorted(FT2Font(str(path)).get_charmap()):
        letter = chr(code)
        if _is_candidate(letter) and (stencil := _stencil(face, letter)) is not None:
            drawn[letter] = stencil
    return drawn


def _is_candidate(letter: str) -> bool:
    """Whether it is a letter of our scripts without marks (those decompose)."""
    return (
        unicodedata.category(letter) in _LETTERS
        and not unicodedata.decomposition(letter)
        and unicodedata.name(letter, "-").split()[0] in _SPLIT_OF_SCRIPT
    )


def _stencil(face: ImageFont.FreeTypeFont, letter: str) -> Image.Image | None:
    """A letter's ink, scaled to one size and centred; None if it has none."""
    mask = face.getmask(letter, mode="L")
    if 0 in mask.size:
        return None
    drawing = Image.frombytes("L", mask.size, bytes(mask))
    ink = drawing.getbbox()
    if ink is None:
        return None
    drawing = drawing.crop(ink)
    scale = INK_SIDE / max(drawing.size)
    width, height = (max(1, round(side * scale)) for side in drawing.size)
    drawing = drawing.resize((width, height), Image.Resampling.BOX)
    stencil = Image.new("L", (STENCIL_SIDE, STENCIL_SIDE))
    stencil.paste(drawing, ((STENCIL_SIDE - width) // 2, (STENCIL_SIDE - height) // 2))
    return stencil


def _comparable(stencil: Image.Image) -> np.ndarray:
    """A stencil as a vector of ink 0..1, small and blurred enough to forgive half a pixel."""
    small = stencil.reduce(2).filter(ImageFilter.GaussianBlur(1.4))
    return np.asarray(small, np.float32).ravel() / 255


def same_drawings(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The pairs of same drawings, int [pairs, 2], of two sets: float32 [m, pixels] and [n, pixels], ink from 0 to 1."""
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (first, second)]
    candidates = np.argwhere(unit[0] @ unit[1].T > _MAY_BE_SAME)
    same = [
        np.abs(first[part[:, 0]] - second[part[:, 1]]).max(axis=1) < _SAME_DRAWING
        for part in np.array_split(candidates, len(candidates) // 4096 + 1)
    ]
    return candidates[np.concatenate(same)]


def _merge(letters: list[str], faces: Iterable[dict[str, np.ndarray]]) -> list[str]:
    """Joins letters that some face draws the same; each group is a string of its letters."""
    group_of = {letter: letter for letter in letters}
    for drawn in faces:
        names = list(drawn)
        vectors = np.stack(list(drawn.values()))
        alike = [(names[one], names[two]) for one, two in same_drawings(vectors, vectors)]
        for one, two in alike + _same_in_both_cases(drawn):
            if group_of[one] != group_of[two]:
                joined = "".join(sorted(group_of[one] + group_of[two]))
                group_of.update(dict.fromkeys(joined, joined))
    return sorted(set(group_of.values()))


def _same_in_both_cases(drawn: dict[str, np.ndarray]) -> list[tuple[str, str]]:
    """Pairs of small and capital letters that a face draws as one letter in two sizes."""
    return [
        (letter, letter.lower())
        for letter in drawn
        if letter.lower() != letter
        and letter.lower() in drawn
        and np.abs(drawn[letter] - drawn[letter.lower()]).max() < _SAME_LETTER
    ]


def _split(group: str) -> str:
    scripts = {unicodedata.name(letter).split()[0] for letter in group}
    return min((_SPLIT_OF_SCRIPT[script] for script in scripts), key=_SPLIT_ORDER.index)


def _drawn_in_training(
    split_of: dict[str, str], faces: Iterable[dict[str, np.ndarray]]
) -> set[str]:
    """Held-out groups that some face draws as some, possibly other, face draws a training one."""
    group_of = {letter: group for group in split_of for letter in group}
    drawings = [(group_of[letter], vector) for drawn in faces for letter, vector in drawn.items()]
    training = np.stack([vector for group, vector in drawings if split_of[group] == "train"])
    held_out = [(group, vector) for group, vector in drawings if split_of[group] != "train"]
    pairs = same_drawings(np.stack([vector for _, vector in held_out]), training)
    return {held_out[index][0] for index in np.unique(pairs[:, 0])}
