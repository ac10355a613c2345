"""Pictures of a search: accuracy against each setting, and over inner step size and inner steps together."""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Sequence

import numpy as np
import scipy.stats
from keras_tuner.engine.hyperparameters import Boolean, Choice, Float, Int
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.figure import Figure

from anil_tf.evaluation.figures import BLUE, GREY, INK, ORANGE, VERMILLION
from anil_tf.tuning.results import Row
from anil_tf.tuning.search_space import HyperParameters, Setting

_DPI = 120
_COLUMNS = 3
_PANEL = (4.2, 3.3)  # inches
_CELLS = (3, 8)  # of the heat map along each axis, at least and at most
INNER_LOOP = ("inner_step_size", "inner_steps")
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

    @classmethod
    def of_curvatures(
        cls, where: str, smoothness: np.ndarray, strong_convexity: np.ndarray
    ) -> StabilityLimit:
        """2/(L + mu) and 2/L over some tasks, with 0 for mu where the inner loss is not convex.

        Args:
            where: at which weights the curvatures were measured, in words.
            smoothness: L, the largest curvature of the support loss at the start of adaptation, [tasks].
            strong_convexity: mu, the smallest, [tasks].

        Raises:
            ValueError: where a curvature is not finite, or L is not above 0.
        """
        if not (np.isfinite(smoothness + strong_convexity).all() and smoothness.min() > 0):
            raise ValueError(
                f"the curvatures {where} are not all finite, or L is not above 0: L {smoothness}, mu {strong_convexity}"
            )
        limits = 2 / (smoothness + np.maximum(strong_convexity, 0.0))
        numbers = limits.min(), np.median(limits), limits.max(), np.median(2 / smoothness)
        return cls(where, *map(float, numbers))


def draw_accuracies(rows: Sequence[Row], space: HyperParameters, png: pathlib.Path) -> None:
    """Draws the accuracy of each trial, with its 95 % interval, against each setting that was searched.

    Args:
        rows: the trials, best first; those that failed or run are left out.
        space: what was searched.
        png: the file to write.
    """
    settings = space.space
    columns = min(_COLUMNS, len(settings))
    lines = math.ceil(len(settings) / columns)
    figure = Figure(
        figsize=(_PANEL[0] * columns, _PANEL[1] * lines + 0.35), dpi=_DPI, layout="constrained"
    )
    panels = figure.subplots(lines, columns, squeeze=False, sharey=True).ravel()
    for panel in panels[len(settings) :]:
        panel.set_visible(False)
    for panel, setting in zip(panels, settings, strict=False):
        _draw_accuracy(panel, rows, setting)
    for panel in panels[::columns]:
        panel.set_ylabel("validation accuracy (%)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(handles), frameon=False)
    figure.savefig(png)


def _draw_accuracy(panel: Axes, rows: Sequence[Row], setting: Setting) -> None:
    done, diverged = _places(rows, setting, "done"), _places(rows, setting, "diverged")
    panel.errorbar(
        *done,
        [100 * row.score.ci95 for row in rows if row.score and row.status == "done"],
        fmt="o",
        color=BLUE,
        ecolor=GREY,
        markersize=4,
        elinewidth=1,
        label="trial, 95 % interval",
    )
    if diverged[0]:
        panel.plot(*diverged, "x", color=VERMILLION, label="diverged: chance")
    if done[0]:
        panel.plot(done[0][0], done[1][0], "*", color=INK, markersize=12, label="best")
    panel.set_xlabel(setting.name.replace("_", " "))
    panel.margins(x=0.08, y=0.08)
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(color="#E4E4E4", linewidth=0.8)
    panel.set_axisbelow(True)
    if isinstance(setting, (Float, Int)):
        _scale(panel.xaxis, setting)
    else:
        names = ["no", "yes"] if isinstance(setting, Boolean) else [*map(str, setting.values)]
        panel.set_xticks(range(len(names)), names)
        panel.set_xlim(-0.5, len(names) - 0.5)


def _places(rows: Sequence[Row], setting: Setting, status: str) -> tuple[list[float], list[float]]:
    """Where trials stand: at their values, or among the choices; and their accuracies in percent."""
    shown = [row for row in rows if row.status == status and row.score]
    values = [row.values[setting.name] for row in shown]
    if isinstance(setting, Choice):
        values = [setting.values.index(value) for value in values]
    return list(map(float, values)), [100 * row.score.accuracy for row in shown if row.score]


def _scale(axis: XAxis | YAxis, setting: Float | Int) -> None:
    """Makes an axis logarithmic where its setting is, with plain numbers at 1, 2 and 5, or 1 and 3 where it is long."""
    if setting.sampling == "log":
        axis.axes.set(**{f"{axis.axis_name}scale": "log"})
        numbers = (1, 2, 5) if setting.max_value < 100 * setting.min_value else (1, 3)
        axis.set_major_locator(ticker.LogLocator(subs=numbers))
        least = (
            1.0 if isinstance(setting, Int) else 0.0
        )  # the first cell of steps begins at half a step
        axis.set_major_formatter(ticker.FuncFormatter(lambda x, _: f"{x:g}" if x >= least else ""))
        axis.set_minor_formatter(ticker.NullFormatter())


def draw_inner_loop(
    rows: Sequence[Row], space: HyperParameters, png: pathlib.Path, limits: Sequence[StabilityLimit]
) -> None:
    """Draws a heat map of the accuracy over inner step size and inner steps, with the stability limits.

    A cell has the mean accuracy of the trials in it, whatever their other settings, a diverged one counting as chance.

    Args:
        rows: the trials, best first; one at least has a score.
        space: what was searched; both settings must be in it.
        png: the file to write.
        limits: drawn as vertical lines: the median over tasks, and thin ones for the lowest and the highest task; and
            a dotted one for 2/L, where it can be told from the first.
    """
    settings = [next(each for each in space.space if each.name == name) for name in INNER_LOOP]
    ended = [row for row in rows if row.score]
    places = [[float(row.values[name]) for row in ended] for name in INNER_LOOP]
    columns, lines = map(_edges, settings, places)
    accuracies = [100 * row.score.accuracy for row in ended if row.score]
    means = scipy.stats.binned_statistic_2d(*places, accuracies, bins=[columns, lines]).statistic
    figure = Figure(figsize=(6.6, 4.6), dpi=_DPI, layout="constrained")
    panel = figure.subplots()
    drawn = panel.pcolormesh(columns, lines, means.T, cmap="cividis")
    figure.colorbar(drawn, label="validation accuracy (%), mean of the trials in a cell")
    for status, marker, colour, label in (
        ("done", "o", "white", "trial"),
        ("diverged", "X", VERMILLION, "diverged: counts as chance"),
    ):
        sizes, steps = (_places(rows, setting, status)[0] for setting in settings)
        if sizes:
            panel.plot(
                sizes,
                steps,
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
    _scale(panel.xaxis, settings[0])
    _scale(panel.yaxis, settings[1])
    panel.set_ylim(lines[0], lines[-1])
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=8)
    figure.savefig(png)


def _edges(setting: Float | Int, values: Sequence[float]) -> np.ndarray:
    """The borders of the cells along one axis, those of integers between them."""
    cells = int(np.clip(round(math.sqrt(len(values))), *_CELLS))
    low, high = min(setting.min_value, *values), max(setting.max_value, *values)
    is_log = setting.sampling == "log"
    if isinstance(setting, Int):
        low, high = max(low - 0.5, 0.5 if is_log else -0.5), high + 0.5
    edges = (np.geomspace if is_log else np.linspace)(low, high, cells + 1)
    return np.unique(np.floor(edges) + 0.5) if isinstance(setting, Int) else edges


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
