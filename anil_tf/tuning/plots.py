"""Pictures of a search: accuracy against each setting, and over inner step size and inner steps together."""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.figure import Figure

from anil_tf.evaluation.figures import BLUE, GREY, INK, ORANGE, VERMILLION
from anil_tf.tuning import trials
from anil_tf.tuning.search_space import Choice, SearchSpace, Setting
from anil_tf.tuning.trials import Row

_DPI = 120
_COLUMNS = 3
_PANEL = (4.2, 3.3)  # inches
_CELLS = (3, 8)  # of the heat map along each axis, at least and at most
_MAP = ("inner_step_size", "inner_steps")
_TOLD_APART = 1.05  # ratio of two lines from which on both are drawn


@dataclasses.dataclass(frozen=True)
class StabilityLimit:
    """Up to which inner step size the inner steps of some tasks contract, by the curvatures at the start of adaptation.

    Up to 2/(L + mu) a step of gradient descent contracts by 1 - alpha mu, the better the longer it is. Beyond, it does
    by alpha L - 1, the worse the longer; and from 2/L on it does not: adaptation diverges along the steepest direction.

    Attributes:
        where: at which weights it was measured, in words.
        low: 2/(L + mu) of the task with the smallest.
        median: of it over the tasks.
        high: of it, of the task with the largest.
        diverges: 2/L, the median over the tasks.
    """

    where: str
    low: float
    median: float
    high: float
    diverges: float


def stability_limit(
    where: str, smoothness: np.ndarray, strong_convexity: np.ndarray
) -> StabilityLimit:
    """2/(L + mu) and 2/L over some tasks, with 0 for mu where the inner loss is not convex.

    Args:
        where: at which weights the curvatures were measured, in words.
        smoothness: L, the largest curvature of the support loss at the start of adaptation, [tasks].
        strong_convexity: mu, the smallest, [tasks].

    Returns:
        The limit, in the unit of the inner step size.

    Raises:
        ValueError: where a curvature is not finite, or L is not above 0.
    """
    smoothness, strong_convexity = np.asarray(smoothness), np.asarray(strong_convexity)
    if not (np.isfinite(smoothness + strong_convexity).all() and smoothness.min() > 0):
        raise ValueError(
            f"the curvatures {where} are not all finite, or L is not above 0: L {smoothness}, mu {strong_convexity}"
        )
    limits = 2 / (smoothness + np.maximum(strong_convexity, 0.0))
    numbers = limits.min(), np.median(limits), limits.max(), np.median(2 / smoothness)
    return StabilityLimit(where, *map(float, numbers))


def draw_accuracies(rows: Sequence[Row], space: SearchSpace, png: pathlib.Path) -> None:
    """Draws the accuracy of each trial, with its 95 % interval, against each setting that was searched.

    Args:
        rows: the trials, best first; those that failed or run are left out.
        space: what was searched.
        png: the file to write.
    """
    columns = min(_COLUMNS, len(space.names))
    lines = math.ceil(len(space.names) / columns)
    figure = Figure(
        figsize=(_PANEL[0] * columns, _PANEL[1] * lines + 0.35), dpi=_DPI, layout="constrained"
    )
    panels = figure.subplots(lines, columns, squeeze=False, sharey=True).ravel()
    for panel in panels[len(space.names) :]:
        panel.set_visible(False)
    for panel, setting in zip(panels, space, strict=False):
        _draw_accuracy(panel, rows, setting)
    for panel in panels[::columns]:
        panel.set_ylabel("validation accuracy (%)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(handles), frameon=False)
    figure.savefig(png)


def _draw_accuracy(panel: Axes, rows: Sequence[Row], setting: Setting) -> None:
    place = _place(setting)
    done = [row for row in rows if row.status == "done"]
    panel.errorbar(
        [place(row) for row in done],
        [100 * row.accuracy for row in done],
        [100 * row.ci95 for row in done],
        fmt="o",
        color=BLUE,
        ecolor=GREY,
        markersize=4,
        elinewidth=1,
        label="trial, 95 % interval",
    )
    diverged = [row for row in rows if row.status == "diverged"]
    if diverged:
        places, heights = [place(row) for row in diverged], [100 * row.accuracy for row in diverged]
        panel.plot(places, heights, "x", color=VERMILLION, label="diverged: chance")
    winner = trials.best(rows)
    if winner is not None:
        panel.plot(
            place(winner), 100 * winner.accuracy, "*", color=INK, markersize=12, label="best"
        )
    panel.set_xlabel(setting.name.replace("_", " "))
    panel.margins(x=0.08, y=0.08)
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(color="#E4E4E4", linewidth=0.8)
    panel.set_axisbelow(True)
    if isinstance(setting, Choice):
        names = ["no", "yes"] if setting.values == (False, True) else [*map(str, setting.values)]
        panel.set_xticks(range(len(names)), names)
        panel.set_xlim(-0.5, len(names) - 0.5)
    else:
        _scale(panel.xaxis, setting)


def _scale(axis: XAxis | YAxis, setting: Setting) -> None:
    """Makes an axis logarithmic where its setting is, with plain numbers at 1, 2 and 5, or 1 and 3 where it is long."""
    if setting.logarithmic:
        assert not isinstance(setting, Choice)
        axis.axes.set(**{f"{axis.axis_name}scale": "log"})
        numbers = (1, 2, 5) if setting.high < 100 * setting.low else (1, 3)
        axis.set_major_locator(ticker.LogLocator(subs=numbers))
        least = 1.0 if setting.whole else 0.0  # the first cell of steps begins at half a step
        axis.set_major_formatter(ticker.FuncFormatter(lambda x, _: f"{x:g}" if x >= least else ""))
        axis.set_minor_formatter(ticker.NullFormatter())


def _place(setting: Setting) -> Callable[[Row], float]:
    """Where on its axis a trial stands: at its value, or among the choices."""
    if isinstance(setting, Choice):
        return lambda row: setting.values.index(row.values[setting.name])
    return lambda row: row.values[setting.name]


def have_scores(rows: Sequence[Row]) -> bool:
    """Whether there is anything to draw: a trial that has ended, and not failed."""
    return any(not math.isnan(row.accuracy) for row in rows)


def has_inner_loop(space: SearchSpace) -> bool:
    """Whether inner step size and inner steps were both searched."""
    return set(_MAP) <= set(space.names)


def draw_inner_loop(
    rows: Sequence[Row],
    space: SearchSpace,
    png: pathlib.Path,
    limits: Sequence[StabilityLimit] = (),
) -> bool:
    """Draws a heat map of the accuracy over inner step size and inner steps, with the stability limit.

    A cell has the mean accuracy of the trials in it, whatever their other settings, a diverged one counting as chance.

    Args:
        rows: the trials, best first.
        space: what was searched.
        png: the file to write.
        limits: drawn as vertical lines: the median over tasks, and thin ones for the lowest and the highest task; and
            a dotted one for 2/L, where it can be told from the first.

    Returns:
        Whether it was drawn: both settings were searched, and a trial has a score.
    """
    if not (have_scores(rows) and has_inner_loop(space)):
        return False
    ended = [row for row in rows if not math.isnan(row.accuracy)]
    settings = {setting.name: setting for setting in space}
    columns, lines = (
        _edges(settings[name], len(ended), [row.values[name] for row in ended]) for name in _MAP
    )
    figure = Figure(figsize=(6.6, 4.6), dpi=_DPI, layout="constrained")
    panel = figure.subplots()
    heights = _means(ended, columns, lines)
    drawn = panel.pcolormesh(columns, lines, 100 * heights.T, cmap="cividis")
    figure.colorbar(drawn, label="validation accuracy (%), mean of the trials in a cell")
    for status, marker, colour, label in (
        ("done", "o", "white", "trial"),
        ("diverged", "X", VERMILLION, "diverged: counts as chance"),
    ):
        of_it = [row for row in ended if row.status == status]
        if of_it:
            panel.plot(
                *([row.values[name] for row in of_it] for name in _MAP),
                marker,
                color=colour,
                markeredgecolor=INK,
                markersize=6,
                label=label,
                clip_on=False,  # many a trial lies on the border
                zorder=3,
            )
    _draw_limits(panel, limits, columns)
    panel.set(xlabel="inner step size", ylabel="inner steps")
    _scale(panel.xaxis, settings[_MAP[0]])
    _scale(panel.yaxis, settings[_MAP[1]])
    panel.set_ylim(lines[0], lines[-1])
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=8)
    figure.savefig(png)
    return True


def _edges(setting: Setting, count: int, values: Sequence[float]) -> np.ndarray:
    """The borders of the cells along one axis, those of whole numbers between them."""
    assert not isinstance(setting, Choice)
    cells = int(np.clip(round(math.sqrt(count)), *_CELLS))
    low, high = min(setting.low, *values, setting.high), max(setting.high, *values)
    if setting.whole:
        low, high = max(low - 0.5, 0.5 if setting.logarithmic else -0.5), high + 0.5
    spread = np.geomspace if setting.logarithmic else np.linspace
    edges = spread(low, high, cells + 1)
    if setting.whole:
        edges = np.unique(np.floor(edges) + 0.5)
    return edges


def _means(rows: Sequence[Row], columns: np.ndarray, lines: np.ndarray) -> np.ndarray:
    """The mean accuracy of the trials in each cell, [columns, lines]; nan where there is none."""
    total = np.zeros([len(columns) - 1, len(lines) - 1])
    count = np.zeros_like(total)
    for row in rows:
        cell = tuple(
            int(np.clip(np.searchsorted(edges, row.values[name], side="right") - 1, 0, last - 1))
            for name, edges, last in zip(_MAP, (columns, lines), total.shape, strict=True)
        )
        total[cell] += row.accuracy
        count[cell] += 1
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _draw_limits(panel: Axes, limits: Sequence[StabilityLimit], columns: np.ndarray) -> None:
    low, high = columns[0], columns[-1]
    for limit, colour, style in zip(limits, (VERMILLION, ORANGE), ("-", "--"), strict=False):
        label = f"2/(L + μ) {limit.where}: {limit.median:.2g} ({limit.low:.2g} to {limit.high:.2g})"
        panel.axvline(limit.median, color=colour, linestyle=style, linewidth=2, label=label)
        for end in (limit.low, limit.high):
            panel.axvline(end, color=colour, linestyle=style, linewidth=0.8)
        furthest = limit.median
        if limit.diverges > _TOLD_APART * limit.median:
            furthest = limit.diverges
            label = f"2/L {limit.where}, diverges beyond: {furthest:.2g}"
            panel.axvline(furthest, color=colour, linestyle=":", linewidth=2, label=label)
        high = max(high, min(furthest * 1.15, 10 * columns[-1]))
        low = min(low, max(limit.median / 1.15, columns[0] / 10))
    panel.set_xlim(low, high)
