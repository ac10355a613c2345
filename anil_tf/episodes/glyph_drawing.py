"""Draws a letter as if by many hands: face, slant, turn, size, place and stroke vary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image, ImageFilter

from anil_tf.episodes.glyph_classes import INK_SIDE, STENCIL_SIDE

SIDE = 28
_OVERSAMPLING = 2
_INK_SHARE = 0.72  # of the drawing's side that the letter's longer side takes, before variation
_TURN = 12.0  # degrees to either side
_SLANT = 0.25  # horizontal shift per unit of height, to either side
_STRETCH = 0.2  # relative, of width and of height, to either side
_SHIFT = 2.0  # pixels of the finished drawing, to either side
_STROKES = (None, ImageFilter.MaxFilter(3), ImageFilter.GaussianBlur(1.2))


def drawings(
    stencils: Sequence[Image.Image], count: int, generator: np.random.Generator
) -> Iterator[np.ndarray]:
    """Draws one letter many times, its faces in turn, in random order.

    Yields:
        Drawings, uint8 [28, 28, 1], ink = 255.
    """
    order = generator.permutation(len(stencils))
    for index in range(count):
        yield _drawing(stencils[order[index % len(order)]], generator)


def _drawing(stencil: Image.Image, generator: np.random.Generator) -> np.ndarray:
    side = SIDE * _OVERSAMPLING
    drawing = stencil.transform(
        (side, side),
        Image.Transform.AFFINE,
        _random_affine(side, generator),
        Image.Resampling.BILINEAR,
    )
    stroke = _STROKES[generator.integers(len(_STROKES))]
    if stroke is not None:
        drawing = drawing.filter(stroke)
    return np.asarray(drawing.reduce(_OVERSAMPLING))[..., np.newaxis]


def _random_affine(side: int, generator: np.random.Generator) -> tuple[float, ...]:
    """The map from a drawing's pixel to the stencil's, as (a, b, c, d, e, f) of Pillow."""
    turn = np.radians(generator.uniform(-_TURN, _TURN))
    slant = generator.uniform(-_SLANT, _SLANT)
    stretch = 1 + generator.uniform(-_STRETCH, _STRETCH, size=2)
    shift = generator.uniform(-_SHIFT, _SHIFT, size=2) * _OVERSAMPLING
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    shear = np.array([[1.0, slant], [0.0, 1.0]])
    scale = _INK_SHARE * side / INK_SIDE
    to_drawing = rotation @ shear @ np.diag(scale * stretch)
    to_stencil = np.linalg.inv(to_drawing)
    origin = STENCIL_SIDE / 2 - to_stencil @ (side / 2 + shift)
    return (*to_stencil[0], origin[0], *to_stencil[1], origin[1])
