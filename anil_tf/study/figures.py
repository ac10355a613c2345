"""The pictures of the study: curves of several settings, measurements beside bounds, and heat maps.

A picture is panels, a panel is series, and a series has a kind, which fixes how it looks in every
picture: seeds' curves with bands, points with intervals, bounds as black broken lines, fits,
published numbers as open diamonds. Settings are told apart by colour (Okabe-Ito), by marker, and by
line style, so that a grey print can be read too.

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
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import PIL.Image
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.transforms import Transform, offset_copy

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

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["curve", "points", "bound", "fit", "published"]

# Neighbours differ in colour, in lightness, in marker and in line style.
_COLOURS = (BLUE, ORANGE, GREEN, VERMILLION, SKY_BLUE, PURPLE, INK, GREY)
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
_PANEL_WIDTH, _PANEL_HEIGHT = 4.7, 3.5  # inches
_DODGE, _MOST_DODGE = 3.5, 12.0  # points between neighbours, and from the first to the last
_LINE_HEIGHT = 0.22  # inches for a line of the title, of the legend, of the note
_LEGEND_LINE, _LEGEND_LETTER = 0.62, 0.075  # inches
_MOST_BYTES = 120_000
_DPIS, _SHADES = (120, 100, 84, 72, 60), (256, 64)


@dataclasses.dataclass(frozen=True)
class Series:
    """One line, or one set of points, of a panel.

    Attributes:
        label: for the legend; "" leaves it out.
        x: [points].
        y: [points]; nan leaves a gap.
        low: [points], lower end of the band or of the interval; None for none.
        high: [points], upper end.
        kind: how it looks. "curve": a line with a band; "points": markers with intervals, joined by
            a thin line; "bound": a black broken line without markers; "fit": a grey line;
            "published": open diamonds, numbers of others.
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
        ticks: places of x that are named, instead of those that matplotlib finds: numbers of inner
            steps, batch sizes.
        lines: horizontal lines by their label: chance, a threshold.
        y_limits: where y begins, and what it does not go beyond even if numbers do; None leaves
            either to the numbers.
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


# ---- From results to series ------------------------------------------------------------------------------------------


def curves(
    frame: pd.DataFrame,
    *,
    x: str,
    y: str,
    by: str,
    label: str = "{}",
    scale: float = 1.0,
    kind: Kind = "curve",
) -> list[Series]:
    """One series for each value of a column: the mean over seeds, and the range of the seeds.

    Args:
        frame: one row for each seed, x and value of `by`.
        x: the column that goes to the right. Where it differs between seeds (running time), give
            the column its mean over seeds first.
        y: the column that goes up.
        by: the column whose values are told apart, in ascending order.
        label: the legend of a value, as a format: "N = {}".
        scale: what y is multiplied by: 100 for fractions shown in per cent.
        kind: see `Series`.

    Returns:
        The series, styled by the place of their value, with the lowest and the highest seed as the
        band.
    """
    return [
        _of_seeds(part, x, y, label.format(_number(value)), scale, kind, ("least", "most"), place)
        for place, (value, part) in enumerate(frame.groupby(by, sort=True))
    ]


def measured(
    frame: pd.DataFrame,
    *,
    x: str,
    y: str,
    label: str = "measured",
    scale: float = 1.0,
    style: int | None = None,
) -> Series:
    """Points with the 95 % interval over seeds, for beside a bound or a fit.

    Args:
        frame: one row for each seed and x.
        x: the column that goes to the right.
        y: the column that goes up.
        label: for the legend.
        scale: what y is multiplied by.
        style: see `Series`.
    """
    return _of_seeds(frame, x, y, label, scale, "points", ("low", "high"), style)


def bound(x: npt.ArrayLike, y: npt.ArrayLike, label: str = "derived bound") -> Series:
    """A bound, drawn as a black broken line.

    Args:
        x: [points].
        y: [points].
        label: says that the bound is derived, or attributed.
    """
    return Series(label, x, y, kind="bound")


def _of_seeds(
    frame: pd.DataFrame,
    x: str,
    y: str,
    label: str,
    scale: float,
    kind: Kind,
    ends: tuple[str, str],
    style: int | None,
) -> Series:
    table = statistics.summary(frame, [x], y)
    low, high = (scale * table[end].to_numpy() for end in ends)
    return Series(
        label, table[x].to_numpy(), scale * table["center"].to_numpy(), low, high, kind, style
    )


# ---- Drawing ---------------------------------------------------------------------------------------------------------


def draw(
    panels: Sequence[Panel],
    png: str | pathlib.Path,
    *,
    title: str = "",
    note: str = "",
    columns: int | None = None,
    share_y: bool = False,
) -> None:
    """Draws panels side by side, at most three in a row, into one PNG of less than 120 kB.

    Panels with the same labels of series share one legend, below them.

    Args:
        panels: one or more.
        png: the file to write.
        title: above the panels; line breaks are kept.
        note: small, below everything: what bands and bars are, what is missing and why.
        columns: panels in a row; None chooses: 1, 2, 3, 2 x 2, then three in a row.
        share_y: whether all panels have the same y axis.

    Raises:
        ValueError: if there is no panel.
    """
    if not panels:
        raise ValueError("expected one or more panels to draw, received none.")
    columns = columns or (2 if len(panels) == 4 else min(3, len(panels)))
    rows = math.ceil(len(panels) / columns)
    legend = _legend(panels[0]) if _is_shared(panels) else []
    in_a_row = _columns_of_legend(legend, _width(columns))
    lines = math.ceil(len(legend) / in_a_row)
    figure, axes, foot = _paper(rows, columns, title, note, lines, share_y)
    for number, panel in enumerate(panels):
        _draw_panel(axes[number], panel, legend=not legend)
        if share_y and number % columns:
            axes[number].set_ylabel("")
    for place in axes[len(panels) :]:
        place.axis("off")
    if legend:
        look: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, foot)}
        figure.legend(*_handles(axes[0], legend), ncols=in_a_row, frameon=False, fontsize=9, **look)
    _save(figure, png)


def heat(
    frame: pd.DataFrame,
    png: str | pathlib.Path,
    *,
    x: str,
    y: str,
    value: str,
    labels: Mapping[str, str] | None = None,
    title: str = "",
    number: str = "{:.2f}",
) -> None:
    """Draws a number for each pair of settings: each cell is shaded, and the number is written in it.

    Args:
        frame: one row for each pair, or several, whose mean is shown.
        png: the file to write.
        x: the column that goes to the right.
        y: the column that goes up.
        value: the column of the numbers.
        labels: of the columns, for readers, with units.
        title: above the cells.
        number: the format of a number.
    """
    labels = labels or {}
    table = frame.pivot_table(index=y, columns=x, values=value, dropna=False)
    numbers = table.to_numpy(np.float64)
    figure = Figure(
        figsize=(2.0 + 0.85 * numbers.shape[1], 1.3 + 0.5 * numbers.shape[0]),
        layout="constrained",
    )
    panel = figure.add_subplot()
    image = panel.imshow(numbers, cmap="cividis", aspect="auto", origin="lower")
    middle = (np.nanmin(numbers) + np.nanmax(numbers)) / 2
    for row, column in np.ndindex(*numbers.shape):
        shown = numbers[row, column]
        text = number.format(shown) if math.isfinite(shown) else "-"
        colour = "white" if shown < middle else INK
        panel.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)
    panel.set_xticks(range(numbers.shape[1]), [_number(place) for place in table.columns])
    panel.set_yticks(range(numbers.shape[0]), [_number(place) for place in table.index])
    panel.set(xlabel=labels.get(x, x), ylabel=labels.get(y, y))
    panel.spines[:].set_visible(False)
    panel.tick_params(length=0)
    panel.set_title(title, fontsize=10.5, color=INK, fontweight="bold")
    figure.colorbar(image, ax=panel, label=labels.get(value, value)).outline.set_visible(False)
    _save(figure, png)


def _paper(
    rows: int, columns: int, title: str, note: str, legend_lines: int, share_y: bool
) -> tuple[Figure, list[Axes], float]:
    """A figure with a title, space for a legend, and a note at its foot; its axes; and where the legend begins."""
    head, foot = (_LINE_HEIGHT * (text.count("\n") + 1 if text else 0) for text in (title, note))
    below = foot + _LINE_HEIGHT * legend_lines + (0.08 if legend_lines else 0.0)
    width = _width(columns)
    height = _PANEL_HEIGHT * rows + head + below + 0.1
    layout = ConstrainedLayoutEngine(
        w_pad=0.08, h_pad=0.08, rect=(0.0, below / height, 1.0, 1.0 - below / height)
    )
    figure = Figure(figsize=(width, height), layout=layout)
    if title:
        figure.suptitle(title, fontsize=11.5, fontweight="bold", color=INK)
    if note:
        figure.text(0.1 / width, 0.07 / height, note, fontsize=8.5, color="#555555")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=share_y)
    return figure, list(grid.ravel()), foot / height


def _width(columns: int) -> float:
    return max(_PANEL_WIDTH * columns, 5.2)


def _columns_of_legend(legend: Sequence[str], width: float) -> int:
    """How many entries of a legend stand side by side within a width in inches."""
    longest = max((len(label) for label in legend), default=0)
    return max(1, min(len(legend), math.floor(width / (_LEGEND_LINE + _LEGEND_LETTER * longest))))


def _legend(panel: Panel) -> list[str]:
    return [one.label for one in panel.series if one.label] + list(panel.lines)


def _is_shared(panels: Sequence[Panel]) -> bool:
    return len(panels) > 1 and all(_legend(panel) == _legend(panels[0]) for panel in panels)


def _handles(axes: Axes, legend: Sequence[str]) -> tuple[list[Any], list[str]]:
    """What stands in a legend, in the order of the series; matplotlib would put lines before points."""
    handles, labels = axes.get_legend_handles_labels()
    return [handles[labels.index(label)] for label in legend], list(legend)


def _draw_panel(axes: Axes, panel: Panel, legend: bool) -> None:
    if panel.log_x:
        axes.set_xscale("log")
    if panel.log_y:
        axes.set_yscale("log")
    styles = iter(range(len(panel.series)))
    for one, places in zip(panel.series, _side_by_side(axes, panel.series), strict=True):
        _draw_series(axes, one, styles, places)
    for label, height in panel.lines.items():
        axes.axhline(height, color=INK, linewidth=1.0, linestyle=(0, (1, 2)), label=label, zorder=1)
    axes.set_xlabel(panel.x_label)
    axes.set_ylabel(panel.y_label)
    axes.set_title(panel.title, fontsize=10.5, color=INK)
    _limit(axes, *panel.y_limits)
    if panel.log_y:
        _name_decades(axes.yaxis)
    if len(panel.ticks):
        axes.set_xticks(list(panel.ticks), [_number(place) for place in panel.ticks])
        axes.xaxis.set_minor_locator(ticker.NullLocator())
    elif panel.log_x:
        _name_decades(axes.xaxis)
    elif _is_whole(panel.series):
        axes.locator_params(axis="x", integer=True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#E4E4E4", linewidth=0.8)
    axes.set_axisbelow(True)
    if legend and _legend(panel):
        handles, labels = _handles(axes, _legend(panel))
        legend_box = axes.legend(handles, labels, fontsize=8.5, handlelength=2.8, edgecolor="none")
        legend_box.set_zorder(5)  # above the lines, which its ground would else run through


def _side_by_side(axes: Axes, series: Sequence[Series]) -> list[Transform]:
    """Where each series is drawn: points stand beside each other, so that no bar hides another one's."""
    total = sum(one.kind == "points" for one in series)
    step = min(_DODGE, _MOST_DODGE / max(total - 1, 1))
    places: list[Transform] = []
    shifted = 0
    for one in series:
        shift = step * (shifted - (total - 1) / 2) if one.kind == "points" else 0.0
        shifted += one.kind == "points"
        figure = axes.get_figure(root=True)
        places.append(offset_copy(axes.transData, figure, x=shift, units="points"))
    return places


def _draw_series(axes: Axes, one: Series, styles: Any, place: Transform) -> None:
    x, y = np.asarray(one.x, np.float64), np.asarray(one.y, np.float64)
    if one.kind in ("bound", "fit"):
        colour, dashes = (INK, "--") if one.kind == "bound" else (GREY, "-")
        axes.plot(x, y, color=colour, ls=dashes, linewidth=1.8, label=one.label, zorder=2)
        return
    if one.kind == "published":
        axes.plot(x, y, "D", color=INK, ms=8, mfc="white", label=one.label, zorder=4)
        return
    style = next(styles) if one.style is None else one.style
    colour, marker = _COLOURS[style % len(_COLOURS)], _MARKERS[style % len(_MARKERS)]
    look: dict[str, Any] = {
        "color": colour,
        "marker": marker,
        "fillstyle": "full" if style < len(_COLOURS) else "none",  # where the colours begin anew
        "markersize": 5.5,
        "label": one.label or None,
    }
    if one.kind == "points":
        look |= {"capsize": 3, "linewidth": 1.1, "zorder": 3, "transform": place}
        reach = _reach(one, y)
        axes.errorbar(x, y, reach, **look)
        # What is drawn off its place does not count for the limits of the axes.
        axes.update_datalim(
            np.column_stack([np.tile(x, 2), np.ravel([y - reach[0], y + reach[1]])])
        )
        axes.autoscale_view()
        return
    dashes = _DASHES[style % len(_DASHES)]
    if look["fillstyle"] == "full":
        look |= {"mec": "white", "mew": 0.4}
    axes.plot(x, y, linestyle=dashes, linewidth=1.6, zorder=3, **look)
    if one.low is not None and one.high is not None:
        low, high = np.asarray(one.low, np.float64), np.asarray(one.high, np.float64)
        axes.fill_between(x, low, high, color=colour, alpha=0.14, linewidth=0, zorder=1)


def _reach(one: Series, y: np.ndarray) -> np.ndarray:
    """[2, points]: how far the bars reach down and up; 0 where there is no interval or it is unbounded."""
    if one.low is None or one.high is None:
        return np.zeros((2, len(y)))
    reach = np.stack([y - np.asarray(one.low, np.float64), np.asarray(one.high, np.float64) - y])
    return np.where(np.isfinite(reach), reach, 0.0)


def _limit(axes: Axes, low: float | None, high: float | None) -> None:
    """Fixes where y begins, and cuts it where it goes beyond the highest that is to be shown."""
    if low is not None:
        axes.set_ylim(bottom=low)
    if high is not None and axes.get_ylim()[1] > high:
        axes.set_ylim(top=high)


def _name_decades(axis: Axis) -> None:
    """Names places of a logarithmic axis as plain numbers where it spans few decades: 50, not 5 x 10^1."""
    low, high = axis.get_view_interval()
    decades = math.log10(high / low)
    if decades < 2.5:
        few = (
            ticker.LogLocator(subs=(1, 2, 5))
            if decades > 0.8
            else ticker.MaxNLocator(6, steps=[1, 2, 2.5, 5, 10])
        )
        axis.set_major_locator(few)
        axis.set_major_formatter(ticker.FuncFormatter(lambda place, _: f"{place:g}"))
    axis.set_minor_formatter(ticker.NullFormatter())


def _is_whole(series: Sequence[Series]) -> bool:
    """Whether x counts something, such as meta-steps, of which there is no half."""
    places = [np.asarray(one.x, np.float64) for one in series]
    return all(np.array_equal(x, np.round(x)) for x in places)


def _number(value: Any) -> str:
    """A setting as a reader writes it: 5, not 5.0, and 0.01 as it is."""
    if isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool):
        return f"{value:g}"
    return str(value)


def _save(figure: Figure, png: str | pathlib.Path) -> None:
    """Writes the figure in less than 120 kB, with fewer shades or else fewer pixels where it must be."""
    pathlib.Path(png).write_bytes(_small(figure))


def _small(figure: Figure) -> bytes:
    for dpi in _DPIS:
        picture = _drawn(figure, dpi)  # takes longer than to write it
        for shades in _SHADES:
            content = _png(picture, shades)
            if len(content) < _MOST_BYTES:
                return content
    return content


def _drawn(figure: Figure, dpi: int) -> PIL.Image.Image:
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return PIL.Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def _png(picture: PIL.Image.Image, shades: int) -> bytes:
    # An octree keeps the pure colours of thin lines, which a cut by numbers of pixels would mix.
    few = picture.quantize(shades, PIL.Image.Quantize.FASTOCTREE, dither=PIL.Image.Dither.NONE)
    file = io.BytesIO()
    few.save(file, "PNG", optimize=True)
    return file.getvalue()
