"""How a drawing has to look for a model: like the images it was trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

LIGHT_ON_DARK, DARK_ON_LIGHT = "light_on_dark", "dark_on_light"

# Measured on 150 test images each, as shares of the image's side: the median width of a stroke, and
# the median of the longer side of the ink.
_MEASURED = {"glyphs": (0.107, 0.79), "omniglot": (0.048, 0.59)}
_USUAL_STROKE = 0.07


@dataclasses.dataclass(frozen=True)
class Drawing:
    """What the page's pad draws for one model.

    Attributes:
        ink: "light_on_dark" or "dark_on_light".
        stroke: width of a stroke, as a share of the image's side.
        fill: share of the side that the longer side of a drawing takes, to which it is scaled and
            centred; None where it stays as it was drawn.
        strokes_only: whether the model was trained on strokes and nothing else, so that an image
            with the other ink can be turned over.
    """

    ink: str
    stroke: float
    fill: float | None
    strokes_only: bool


def drawing_for(info: Mapping[str, Any]) -> Drawing:
    """Finds how a drawing has to look for the model of an export.json.

    Returns:
        The measured look of glyphs and Omniglot; for other data the ink that `preview` says, else
        light strokes for grey models, and dark ones for colour models.
    """
    dataset = str(info.get("protocol", {}).get("dataset"))
    for name, (stroke, fill) in _MEASURED.items():
        if dataset.startswith(name):
            return Drawing(LIGHT_ON_DARK, stroke, fill, strokes_only=True)
    ink = info.get("preview", {}).get("ink")
    if ink not in (LIGHT_ON_DARK, DARK_ON_LIGHT):
        ink = LIGHT_ON_DARK if info["image_shape"][-1] == 1 else DARK_ON_LIGHT
    return Drawing(ink, _USUAL_STROKE, None, strokes_only=False)
