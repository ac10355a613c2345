import math

import numpy as np
import pandas as pd
import pytest
from matplotlib import colors
from PIL import Image

from anil_tf.evaluation.figures import INK
from anil_tf.study import figures, statistics
from anil_tf.study.figures import Panel, Series

pytestmark = pytest.mark.filterwarnings("error:::matplotlib", "error:.*[Gg]lyph:UserWarning")

STEPS = [0, 10, 30, 100, 300]
INNER_STEPS = [1, 3, 5, 7, 10, 20]


def losses(seeds=3, inner_steps=INNER_STEPS):
    """Made training curves: noise of seeds around curves that fall the faster, the larger N is."""
    generator = np.random.default_rng(0)
    rows = [
        (n, seed, step, 1.0 + 0.6 * math.exp(-step * n / 600) + 0.02 * generator.normal())
        for n in inner_steps
        for seed in range(seeds)
        for step in STEPS
    ]
    return pd.DataFrame(rows, columns=["inner_steps", "seed", "meta_step", "train_loss"])


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are saved, for reading back their axes."""
    kept = []
    save = figures._save
    monkeypatch.setattr(
        figures, "_save", lambda figure, png: (kept.append(figure), save(figure, png))
    )
    return kept


def size(png):
    with Image.open(png) as image:
        assert image.format == "PNG"
        return image.size


# ---- From results to series ------------------------------------------------------------------------------------------


def test_curves_have_the_mean_and_the_range_of_the_seeds():
    frame = losses()
    lines = figures.curves(
        frame, x="meta_step", y="train_loss", by="inner_steps", label="N = {}", scale=100.0
    )
    assert [line.label for line in lines] == [f"N = {n}" for n in INNER_STEPS]
    assert [line.style for line in lines] == list(range(len(INNER_STEPS)))
    seeds = frame[frame.inner_steps == 5].pivot(
        index="meta_step", columns="seed", values="train_loss"
    )
    line = lines[2]
    assert list(line.x) == STEPS
    np.testing.assert_allclose(line.y, 100 * seeds.mean(axis=1))
    np.testing.assert_allclose(line.low, 100 * seeds.min(axis=1))
    np.testing.assert_allclose(line.high, 100 * seeds.max(axis=1))


def test_measured_points_have_students_interval():
    frame = losses()
    last = frame[frame.meta_step == 300]
    found = figures.measured(last, x="inner_steps", y="train_loss")
    interval = statistics.mean(last[last.inner_steps == 7].train_loss)
    place = list(found.x).index(7)
    assert (found.y[place], found.low[place], found.high[place]) == pytest.approx(
        (interval.center, interval.low, interval.high)
    )
    assert found.kind == "points"


# ---- Panels ----------------------------------------------------------------------------------------------------------


def test_a_panel_shows_labels_lines_and_legend(tmp_path, drawn):
    lines = figures.curves(
        losses(), x="meta_step", y="train_loss", by="inner_steps", label="N = {}"
    )
    panel = Panel(
        lines,
        "meta-steps",
        "training loss (nats)",
        title="lambda = 0.1",
        lines={"chance": math.log(5)},
        y_limits=(0.9, None),
    )
    figures.draw([panel], tmp_path / "loss.png", title="Loss")
    (axes,) = drawn[0].axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("meta-steps", "training loss (nats)")
    assert axes.get_title() == "lambda = 0.1"
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == [f"N = {n}" for n in INNER_STEPS] + ["chance"]
    assert axes.get_ylim()[0] == 0.9
    assert len(axes.collections) == len(INNER_STEPS)  # the bands
    np.testing.assert_allclose(axes.lines[0].get_ydata(), lines[0].y)
    assert [text.get_text() for text in drawn[0].texts] == ["Loss"]


def test_lines_differ_without_colour(tmp_path, drawn):
    lines = figures.curves(losses(), x="meta_step", y="train_loss", by="inner_steps")
    figures.draw([Panel(lines, "x", "y")], tmp_path / "a.png")
    looks = {(line.get_marker(), str(line.get_linestyle())) for line in drawn[0].axes[0].lines}
    assert len({marker for marker, _ in looks}) == len(INNER_STEPS)


def test_bounds_are_black_and_broken_and_published_numbers_open(tmp_path, drawn):
    x = [1, 2, 4]
    series = [
        Series(
            "measured", x, [0.5, 0.2, 0.1], [0.4, 0.1, -math.inf], [0.6, 0.3, math.inf], "points"
        ),
        figures.bound(x, [0.9, 0.5, 0.3], "derived bound M q^N"),
        Series("published", [2], [0.25], kind="published"),
    ]
    panel = Panel(series, "N", "y", log_x=True, log_y=True, ticks=x)
    figures.draw([panel], tmp_path / "bound.png")
    axes = drawn[0].axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2", "4"]
    by_label = {line.get_label(): line for line in axes.lines}
    bound = by_label["derived bound M q^N"]
    assert bound.get_color() == INK and bound.get_linestyle() == "--"
    assert by_label["published"].get_markerfacecolor() == "white"
    bars = axes.containers[0].lines[2][0].get_segments()
    np.testing.assert_allclose(bars[0][:, 1], [0.4, 0.6])
    np.testing.assert_allclose(bars[2][:, 1], [0.1, 0.1])  # unbounded: no bar


def test_panels_with_the_same_series_share_one_legend(tmp_path, drawn):
    lines = figures.curves(losses(), x="meta_step", y="train_loss", by="inner_steps")
    same = [Panel(lines, "x", "y", title) for title in "abcd"]
    figures.draw(same, tmp_path / "same.png")
    assert all(axes.get_legend() is None for axes in drawn[0].axes)
    assert len(drawn[0].legends) == 1
    figures.draw([*same, Panel(lines[:2], "x", "y")], tmp_path / "other.png")
    assert not drawn[1].legends
    assert len(drawn[1].axes[4].get_legend().get_texts()) == 2


@pytest.mark.parametrize(("panels", "grid"), [(1, (1, 1)), (2, (1, 2)), (4, (2, 2)), (10, (4, 3))])
def test_panels_stand_in_a_grid(tmp_path, drawn, panels, grid):
    one = Panel([Series("", [0, 1], [0, 1])], "x", "y")
    figures.draw([one] * panels, tmp_path / "grid.png")
    rows, columns = grid
    place = drawn[0].axes[0].get_subplotspec().get_gridspec()
    assert (place.nrows, place.ncols) == grid
    visible = [axes for axes in drawn[0].axes if axes.axison]
    assert len(visible) == panels


def test_points_of_several_series_stand_side_by_side(tmp_path, drawn):
    one = Series("a", [1, 2], [1.0, 2.0], [0.5, 1.5], [1.5, 2.5], "points")
    figures.draw([Panel([one] * 3, "x", "y")], tmp_path / "beside.png")
    axes = drawn[0].axes[0]
    lines = [container.lines[0] for container in axes.containers]
    across = [line.get_transform().transform(line.get_xydata())[0, 0] for line in lines]
    steps = np.diff(across)
    assert (steps > 3).all()  # pixels
    assert across[1] == pytest.approx(axes.transData.transform((1, 1))[0])
    low, high = axes.get_ylim()
    assert low < 0.5 and high > 2.5


def test_a_legend_stays_within_the_picture(tmp_path, drawn):
    lines = [Series(f"lambda = 0.{n}, alpha = 1/L, smooth body", [0, 1], [n, n]) for n in range(7)]
    figures.draw([Panel(lines, "x", "y")] * 2, tmp_path / "legend.png")
    (legend,) = drawn[0].legends
    box = legend.get_window_extent()
    assert box.x0 > 0 and box.x1 < drawn[0].bbox.width
    assert box.y1 < min(axes.get_tightbbox().y0 for axes in drawn[0].axes)


@pytest.mark.parametrize(("highest", "top"), [(3.0, (2.0, 2.2)), (1.5, (1.5, 1.5))])
def test_the_upper_limit_only_cuts(tmp_path, drawn, highest, top):
    line = Series("a", [0, 1], [1.0, 2.0])
    panel = Panel([line], "x", "y", y_limits=(None, highest))
    figures.draw([panel], tmp_path / "cut.png")
    assert top[0] <= drawn[0].axes[0].get_ylim()[1] <= top[1]


@pytest.mark.parametrize(
    ("y", "names"),
    [
        ([60.0, 95.0], ["60", "70", "80", "90"]),
        ([11.0, 480.0], ["20", "50", "100", "200"]),
        ([1e-9, 2.0], ["$\\mathdefault{10^{-8}}$", "$\\mathdefault{10^{-4}}$"]),
    ],
)
def test_logarithmic_axes_have_plain_names_where_they_span_few_decades(tmp_path, drawn, y, names):
    figures.draw([Panel([Series("a", [0, 1], y)], "x", "y", log_y=True)], tmp_path / "log.png")
    axis = drawn[0].axes[0].yaxis
    low, high = axis.get_view_interval()
    named = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=True)
    shown = [label.get_text() for place, label in named if low <= place <= high]
    assert set(names) <= set(shown)
    assert 3 <= len(shown) <= 8
    assert not any(label.get_text() for label in axis.get_minorticklabels())


def test_nothing_is_no_picture(tmp_path):
    with pytest.raises(ValueError, match="one or more panels"):
        figures.draw([], tmp_path / "none.png")


def test_pictures_are_small_and_fit_a_page(tmp_path):
    lines = figures.curves(
        losses(), x="meta_step", y="train_loss", by="inner_steps", label="N = {}"
    )
    panels = [Panel(lines, "meta-steps", "training loss (nats)", title) for title in "abcdefghij"]
    figures.draw(panels, tmp_path / "many.png", title="Ten")
    assert (tmp_path / "many.png").stat().st_size < 120_000
    width, height = size(tmp_path / "many.png")
    assert width <= 1800 and height <= 1900


def test_few_shades_keep_the_colours_of_the_lines_and_the_white_of_the_paper(tmp_path):
    lines = [Series(str(n), [0, 1], [n, n + 0.3]) for n in range(len(figures._COLOURS))]
    figures.draw([Panel(lines, "x", "y")], tmp_path / "colours.png")
    with Image.open(tmp_path / "colours.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    for colour in ("#FFFFFF", *figures._COLOURS):
        wanted = 255 * np.array(colors.to_rgb(colour))
        assert (np.abs(pixels - wanted).max(axis=-1) < 8).sum() > 50
