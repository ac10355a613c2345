"""The pictures of the study: curves of several settings, and measurements beside bounds.

A picture is panels, a panel is series, and a series has a kind, which fixes how it looks in every picture: curves with
bands, points with intervals, bounds as black broken lines, fits, published numbers as open diamonds. Settings are told
apart by colour (Okabe-Ito), by marker, and by line style, so that a grey print can be read too.

    lines = figures.curves(frame, x="meta_step", y="train_loss", by="inner_steps", label="N = {}")
    panel = figures.Panel(lines, x_label="meta-steps", y_label="training loss (nats)")
    figures.draw([panel], folder / "loss.png", title="...")
"""

from __future__ import annotations

import dataclasses
import io
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import PIL.Image
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.transforms import offset_copy

from anil_tf.evaluation.figures import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    SKY_BLUE,
    VERMILLION,
)
from anil_tf.study import statistics
from anil_tf.study.statistics import Interval

Kind = Literal["curve", "points", "bound", "fit", "published"]

# Neighbours differ in colour, in lightness, in marker and in line style.
_COLOURS = (BLUE, ORANGE, GREEN, VERMILLION, SKY_BLUE, PURPLE, INK, GREY)
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
_LINES: dict[str, dict[str, Any]] = {
    "bound": {"color": INK, "linestyle": "--", "linewidth": 1.8, "zorder": 2},
    "fit": {"color": GREY, "linestyle": "-", "linewidth": 1.8, "zorder": 2},
    "published": {
        "color": INK,
        "linestyle": "",
        "marker": "D",
        "ms": 8,
        "mfc": "white",
        "zorder": 4,
    },
}
_PANEL_WIDTH, _PANEL_HEIGHT = 4.7, 3.5  # inches
_LEGEND_ENTRY, _LEGEND_LETTER = 0.62, 0.075  # inches
_DODGE = 3.5  # points between the bars of neighbours
_DPI, _SHADES = 90, 64


@dataclasses.dataclass(frozen=True)
class Series:
    """One line, or one set of points, of a panel.

    Attributes:
        label: for the legend; "" leaves it out.
        x: [points].
        y: [points]; nan leaves a gap.
        low: [points], lower end of the band or of the interval; None for none.
        high: [points], upper end.
        kind: how it looks. "curve": a line with a band; "points": markers with intervals, joined by a thin line;
            "bound": a black broken line without markers; "fit": a grey line; "published": open diamonds.
        style: which colour, marker and line style, by number; None takes the next in the panel.
    """

    label: str
    x: npt.ArrayLike
    y: npt.ArrayLike
    low: npt.ArrayLike | None = None
    high: npt.ArrayLike | None = None
    kind: Kind = "curve"
    style: int | None = None


@dataclasses.dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
        series: what is drawn, in the order of the legend.
        x_label: what x is, with its unit in parentheses.
        y_label: what y is, with its unit in parentheses.
        title: what the panel shows or has found, in some words.
        log_x: whether x is on a logarithmic scale.
        log_y: whether y is on a logarithmic scale.
        ticks: places of x that are named, instead of those that matplotlib finds: numbers of inner steps, batch sizes.
        lines: horizontal lines by their label: chance, a threshold.
        y_limits: where y begins, and what it does not go beyond even if numbers do; None leaves either to the numbers.
    """

    series: Sequence[Series]
    x_label: str
    y_label: str
    title: str = ""
    log_x: bool = False
    log_y: bool = False
    ticks: Sequence[float] = ()
    lines: Mapping[str, float] = dataclasses.field(default_factory=dict)
    y_limits: tuple[float | None, float | None] = (None, None)

    @property
    def labels(self) -> list[str]:
        """The entries of its legend."""
        return [one.label for one in self.series if one.label] + list(self.lines)


# ---- From results to series ------------------------------------------------------------------------------------------


def points(
    label: str, x: npt.ArrayLike, intervals: Sequence[Interval], style: int | None = None
) -> Series:
    """Numbers with their intervals.

    Args:
        label: for the legend.
        x: [points].
        intervals: one for each x.
        style: see `Series`.
    """
    y, low, high = (
        np.array([getattr(one, end) for one in intervals]) for end in ("center", "low", "high")
    )
    return Series(label, x, y, low, high, "points", style)


def measured(
    frame: pd.DataFrame, *, x: str, y: str, label: str = "measured", style: int | None = None
) -> Series:
    """Points with the 95 % interval over seeds, for beside a bound or a fit.

    Args:
        frame: one row for each seed and x.
        x: the column that goes to the right.
        y: the column that goes up.
        label: for the legend.
        style: see `Series`.
    """
    groups = frame.groupby(x)[y]
    return points(
        label, list(groups.groups), [statistics.mean(values) for _, values in groups], style
    )


def geometric(
    frame: pd.DataFrame, *, x: str, y: str, label: str, style: int | None = None
) -> Series:
    """As `measured`, with geometric means, whose intervals stay above zero: for positive numbers."""
    groups = frame.groupby(x)[y]
    means = [statistics.ratio(values, np.ones(len(values))) for _, values in groups]
    return points(label, list(groups.groups), means, style)


def curves(
    frame: pd.DataFrame, *, x: str, y: str, by: str, label: str = "{}", scale: float = 1.0
) -> list[Series]:
    """One series for each value of a column: the mean over seeds, with the range of the seeds as the band.

    Args:
        frame: one row for each seed, x and value of `by`.
        x: the column that goes to the right, the same places for all seeds.
        y: the column that goes up.
        by: the column whose values are told apart, in ascending order.
        label: the legend of a value, as a format: "N = {}".
        scale: what y is multiplied by: 100 for fractions shown in per cent.
    """
    series = []
    for style, (value, part) in enumerate(frame.groupby(by, sort=True)):
        places, found = statistics.by_seed(part, x, y)
        found = scale * found
        mean, low, high = found.mean(axis=0), found.min(axis=0), found.max(axis=0)
        series.append(Series(label.format(_number(value)), places, mean, low, high, "curve", style))
    return series


def bound(x: npt.ArrayLike, y: npt.ArrayLike, label: str = "derived bound") -> Series:
    """A bound, drawn as a black broken line; its label says that it is derived, or attributed."""
    return Series(label, x, y, kind="bound")


# ---- Drawing ---------------------------------------------------------------------------------------------------------


def draw(
    panels: Sequence[Panel],
    png: str | pathlib.Path,
    *,
    title: str = "",
    columns: int | None = None,
) -> None:
    """Draws panels side by side, at most three in a row, into one PNG.

    Panels with the same labels of series share one legend, below them.

    Args:
        panels: one or more.
        png: the file to write.
        title: above the panels; line breaks are kept.
        columns: panels in a row; None chooses: 1, 2, 3, 2 x 2, then three in a row.

    Raises:
        ValueError: if there is no panel.
    """
    if not panels:
        raise ValueError("expected one or more panels to draw, received none.")
    columns = columns or (2 if len(panels) == 4 else min(3, len(panels)))
    rows = math.ceil(len(panels) / columns)
    width = max(_PANEL_WIDTH * columns, 5.2)
    shared = panels[0].labels if len(panels) > 1 else []
    if any(panel.labels != shared for panel in panels):
        shared = []
    entry = _LEGEND_ENTRY + _LEGEND_LETTER * max(map(len, shared), default=0)
    in_a_row = max(1, min(len(shared), int(width / entry)))
    height = _PANEL_HEIGHT * rows + 0.3 + 0.22 * math.ceil(len(shared) / in_a_row)
    figure = Figure(figsize=(width, height), layout="constrained")
    if title:
        figure.suptitle(title, fontsize=11.5, fontweight="bold", color=INK)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for place, panel in zip(axes, panels, strict=False):
        _draw_panel(place, panel, legend=not shared)
    for place in axes[len(panels) :]:
        place.axis("off")
    if shared:
        look: dict[str, Any] = {"loc": "outside lower center", "frameon": False, "fontsize": 9}
        figure.legend(*_legend(axes[0], panels[0]), ncols=in_a_row, **look)
    _save(figure, png)


def _draw_panel(axes: Axes, panel: Panel, legend: bool) -> None:
    axes.set_xscale("log" if panel.log_x else "linear")
    axes.set_yscale("log" if panel.log_y else "linear")
    with_bars = [number for number, one in enumerate(panel.series) if one.kind == "points"]
    for number, one in enumerate(panel.series):
        middle = (len(with_bars) - 1) / 2
        shift = _DODGE * (with_bars.index(number) - middle) if number in with_bars else 0.0
        _draw_series(axes, one, number if one.style is None else one.style, shift)
    for label, height in panel.lines.items():
        axes.axhline(height, color=INK, linewidth=1.0, linestyle=(0, (1, 2)), label=label, zorder=1)
    axes.set(xlabel=panel.x_label, ylabel=panel.y_label)
    axes.set_title(panel.title, fontsize=10.5, color=INK)
    low, high = panel.y_limits
    axes.set_ylim(bottom=low, top=high if high is not None and axes.get_ylim()[1] > high else None)
    if panel.log_y:
        _name_decades(axes.yaxis)
    if len(panel.ticks):
        axes.set_xticks(list(panel.ticks), [_number(place) for place in panel.ticks])
        axes.xaxis.set_minor_locator(ticker.NullLocator())
    elif panel.log_x:
        _name_decades(axes.xaxis)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#E4E4E4", linewidth=0.8)
    axes.set_axisbelow(True)
    if legend and panel.labels:
        box = axes.legend(*_legend(axes, panel), fontsize=8.5, handlelength=2.8, edgecolor="none")
        box.set_zorder(5)  # above the lines, which its ground would else run through


def _legend(axes: Axes, panel: Panel) -> tuple[list[Any], list[str]]:
    """What stands in a legend, in the order of the series; matplotlib would put lines before points."""
    handles, labels = axes.get_legend_handles_labels()
    return [handles[labels.index(label)] for label in panel.labels], panel.labels


def _draw_series(axes: Axes, one: Series, style: int, shift: float) -> None:
    """Draws one series; bars are shifted by some points to the right, so that none hides another one's."""
    x, y = np.asarray(one.x, np.float64), np.asarray(one.y, np.float64)
    label = one.label or None
    if one.kind in _LINES:
        axes.plot(x, y, label=label, **_LINES[one.kind])
        return
    look: dict[str, Any] = {
        "color": _COLOURS[style % len(_COLOURS)],
        "marker": _MARKERS[style % len(_MARKERS)],
        "markersize": 5.5,
        "label": label,
    }
    ends = [y if end is None else np.asarray(end, np.float64) for end in (one.low, one.high)]
    if one.kind == "points":
        # An unbounded interval has no bar.
        reach = np.abs(np.where(np.isfinite(ends), np.array(ends) - y, 0.0))
        place = offset_copy(axes.transData, axes.get_figure(root=True), x=shift, units="points")
        axes.errorbar(x, y, reach, capsize=3, linewidth=1.1, zorder=3, transform=place, **look)
        # What is drawn off its place does not count for the limits of the axes.
        axes.update_datalim(
            np.column_stack([np.tile(x, 2), np.ravel([y - reach[0], y + reach[1]])])
        )
        axes.autoscale_view()
        return
    dashes = _DASHES[style % len(_DASHES)]
    axes.plot(x, y, linestyle=dashes, linewidth=1.6, zorder=3, mec="white", mew=0.4, **look)
    axes.fill_between(x, ends[0], ends[1], color=look["color"], alpha=0.14, linewidth=0, zorder=1)


def _name_decades(axis: Axis) -> None:
    """Names places of a logarithmic axis as plain numbers where it spans few decades: 50, not 5 x 10^1."""
    low, high = axis.get_view_interval()
    decades = math.log10(high / low)
    if decades < 2.5:
        few = ticker.MaxNLocator(6, steps=[1, 2, 2.5, 5, 10])
        subs = (1, 2, 5) if decades < 1.5 or high < 1e5 else (1,)  # long names would overlap
        axis.set_major_locator(ticker.LogLocator(subs=subs) if decades > 0.8 else few)
        axis.set_major_formatter(ticker.FuncFormatter(lambda place, _: f"{place:g}"))
    axis.set_minor_formatter(ticker.NullFormatter())


def _number(value: Any) -> str:
    """A setting as a reader writes it: 5, not 5.0, and 0.01 as it is."""
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return f"{value:g}" if is_number else str(value)


def _save(figure: Figure, png: str | pathlib.Path) -> None:
    """Writes the figure with few shades, a third of the bytes."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=_DPI)
    # An octree keeps the pure colours of thin lines, which a cut by numbers of pixels would mix.
    few = (
        PIL.Image.open(file)
        .convert("RGB")
        .quantize(_SHADES, PIL.Image.Quantize.FASTOCTREE, dither=PIL.Image.Dither.NONE)
    )
    few.save(png, "PNG", optimize=True)
