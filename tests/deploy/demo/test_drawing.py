"""How a drawing has to look for a model."""

import pytest

from anil_tf.deploy.demo.drawing import drawing_for


def info(dataset="photos", channels=1, **preview):
    return {
        "protocol": {"dataset": dataset},
        "image_shape": [28, 28, channels],
        "preview": preview,
    }


@pytest.mark.parametrize(
    "dataset", ["glyphs", "omniglot", "omniglot_rotated", "omniglot_background"]
)
def test_strokes_are_drawn_as_their_data_have_them(dataset):
    drawing = drawing_for(info(dataset, ink="dark_on_light"))
    assert drawing.ink == "light_on_dark" and drawing.strokes_only
    assert 0 < drawing.stroke < 0.2 < drawing.fill < 1


def test_glyphs_have_the_thicker_strokes():
    assert drawing_for(info("glyphs")).stroke > 2 * drawing_for(info("omniglot")).stroke


@pytest.mark.parametrize(
    ("channels", "preview", "ink"),
    [
        (1, {}, "light_on_dark"),
        (3, {"ink": None}, "dark_on_light"),
        (1, {"ink": "dark_on_light"}, "dark_on_light"),
        (3, {"ink": "light_on_dark"}, "light_on_dark"),
    ],
)
def test_other_data_are_drawn_in_the_ink_that_is_known_and_stay_as_drawn(channels, preview, ink):
    drawing = drawing_for(info(channels=channels, **preview))
    assert drawing.ink == ink
    assert drawing.fill is None and not drawing.strokes_only


def test_an_export_without_protocol_or_preview_will_do():
    assert drawing_for({"image_shape": [84, 84, 3]}).ink == "dark_on_light"
