"""How the cost of an ANIL meta-step grows with tasks, ways, pixels and inner steps.

One of them is varied at a time, around a base. The body, which does nearly all of the work, sees each image once,
whatever the number of inner steps: so the time should be a straight line in images and in pixels, and flat in inner
steps. `measure` times this and fits the lines, `finding` says in words whether it is so, `draw` shows it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import scipy.stats
import tqdm
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from anil_tf.evaluation.figures import BLUE, INK, ORANGE
from benchmarks import meta_batch
from benchmarks.worker import Worker

BASE = {
    "tasks": 8,
    "ways": 5,
    "shots": 5,
    "queries": 5,
    "side": 32,
    "filters": 64,
    "inner_steps": 10,
}
SWEEPS = {
    "tasks": (1, 2, 4, 8, 16),
    "ways": (2, 5, 10, 20),
    "side": (16, 32, 48, 64),
    "inner_steps": (1, 2, 5, 10, 20, 50),
}

_SCRIPT = Path(__file__).with_name("tensorflow_steps.py")
_WARM_UP = 2  # steps: the first one traces, too
_STRAIGHT = 0.98  # R^2 from which on a line is called one
_FLAT = 0.15  # relative growth up to which a line is called flat
_DPI = 120
_COLOURS = 64  # shades of a few colours


@dataclasses.dataclass(frozen=True)
class _Axis:
    """What the times of a sweep are a line in.

    Attributes:
        label: of x.
        of: x from the sizes of a point.
        varied: what one value of the sweep is called; None if it is x itself.
        unit: of x, in the singular.
    """

    label: str
    of: Callable[[Mapping[str, int]], float]
    varied: str | None
    unit: str


def _images(sizes: Mapping[str, int]) -> int:
    return sizes["tasks"] * sizes["ways"] * (sizes["shots"] + sizes["queries"])


_AXES = {
    "tasks": _Axis("images in the meta-batch of B tasks", _images, "B = {}", "image"),
    "ways": _Axis("images in the meta-batch", _images, "{}-way", "image"),
    "side": _Axis(
        "pixels in the meta-batch (millions)",
        lambda sizes: _images(sizes) * sizes["side"] ** 2 / 1e6,
        "{0} x {0}",
        "million pixels",
    ),
    "inner_steps": _Axis("inner steps N", lambda sizes: sizes["inner_steps"], None, "inner step"),
}


# ---- Measuring -------------------------------------------------------------------------------------------------------


def measure(
    folder: Path,
    *,
    python: str,
    repeats: int = 7,
    base: Mapping[str, int] = BASE,
    sweeps: Mapping[str, Sequence[int]] = SWEEPS,
) -> dict[str, Any]:
    """Times the sweeps one after another; the points of a sweep in turns, so that what else the machine does hits all.

    Each point has a process of its own, but all numbers of inner steps share one. A sweep's processes are alive
    together, and one at a time is at work.

    Args:
        folder: where the meta-batches are put.
        python: an interpreter that has TensorFlow.
        repeats: how often each point is timed.
        base: all sizes, those that `meta_batch.write` takes and `inner_steps`.
        sweeps: the values that a size takes in turn, two or more, by its name: one of those in SWEEPS.

    Returns:
        `base`, `repeats` and `sweeps`: for each its `values`, `x` and `x_label`, `median_ms`, `lower_quartile_ms` and
        `upper_quartile_ms` of each point, and `fit`, see `fit_line`.

    Raises:
        ValueError: if the name of a sweep is unknown, or it has fewer than two values.
        RuntimeError: if a process fails.
    """
    for name, values in sweeps.items():
        if name not in _AXES or len(values) < 2:
            raise ValueError(
                f"sweeps: expected two or more values of {', '.join(_AXES)}, received {name}={values}."
            )
    found = {
        name: _measure_sweep(folder, python, name, values, base, repeats)
        for name, values in sweeps.items()
    }
    return {"base": dict(base), "repeats": repeats, "sweeps": found}


def _measure_sweep(
    folder: Path,
    python: str,
    name: str,
    values: Sequence[int],
    base: Mapping[str, int],
    repeats: int,
) -> dict[str, Any]:
    points = [{**base, name: value} for value in values]
    with contextlib.ExitStack() as stack:
        timers = _start(stack, folder, python, points)
        milliseconds = 1e3 * _time_in_turns(timers, repeats, name)
    lower, median, upper = np.percentile(milliseconds, [25, 50, 75], axis=0)
    x = [_AXES[name].of(point) for point in points]
    return {
        "values": list(values),
        "x": x,
        "x_label": _AXES[name].label,
        "median_ms": median.tolist(),
        "lower_quartile_ms": lower.tolist(),
        "upper_quartile_ms": upper.tolist(),
        "fit": fit_line(x, median),
    }


Timer = Callable[[int], list[float]]  # takes so many steps and returns the seconds of each


def _start(
    stack: contextlib.ExitStack, folder: Path, python: str, points: Iterable[Mapping[str, int]]
) -> list[Timer]:
    """Starts a process for each meta-batch, and returns what times each point."""
    workers: dict[Path, Worker] = {}
    timers: list[Timer] = []
    for point in points:
        sizes = {name: value for name, value in point.items() if name != "inner_steps"}
        file = folder / f"growth_{'_'.join(map(str, sizes.values()))}.npz"
        if file not in workers:
            meta_batch.write(file, **sizes)
            worker = Worker(python, _SCRIPT, f"--batch={file}", "--share_out_cores")
            workers[file] = stack.enter_context(worker)
        timers.append(functools.partial(workers[file].time, f"anil@{point['inner_steps']}"))
    return timers


def _time_in_turns(timers: Sequence[Timer], repeats: int, name: str) -> np.ndarray:
    """Seconds [repeats, points]; a process has started when its warm-up is over."""
    rounds = [_WARM_UP] + [1] * repeats
    with tqdm.tqdm(
        total=len(rounds) * len(timers), desc=f"growth with {name}", leave=False, disable=None
    ) as bar:
        seconds: list[list[float]] = []
        for steps in rounds:
            seconds.append([])
            for take in timers:
                seconds[-1].append(take(steps)[0])
                bar.update()
    return np.array(seconds[1:])


def fit_line(x: Sequence[float], milliseconds: Sequence[float]) -> dict[str, float]:
    """Fits time = intercept + slope * x by least squares.

    Args:
        x: of each point, in ascending order.
        milliseconds: the time of each point.

    Returns:
        `intercept_ms`; `slope_ms`, per unit of x; `r_squared`, the share of the variance that the line explains; and
        `relative_growth`, how much the line rises from the first to the last x as a share of the first time.
    """
    line = scipy.stats.linregress(x, milliseconds)
    return {
        "intercept_ms": float(line.intercept),
        "slope_ms": float(line.slope),
        "r_squared": float(line.rvalue**2),
        "relative_growth": float(line.slope * (x[-1] - x[0]) / milliseconds[0]),
    }


# ---- Saying what was found -------------------------------------------------------------------------------------------


def finding(name: str, sweep: Mapping[str, Any]) -> str:
    """Returns what a sweep found, in words.

    Args:
        name: of the sweep.
        sweep: what `measure` returned for it.
    """
    fit, values = sweep["fit"], sweep["values"]
    if name == "inner_steps":
        kind = "flat" if abs(fit["relative_growth"]) <= _FLAT else "not flat"
        share = f"{100 * fit['relative_growth']:+.1f} %"
        return f"{kind} in inner steps: {share} from N = {values[0]} to {values[-1]}"
    kind = "linear" if fit["r_squared"] >= _STRAIGHT else "not linear"
    kinds = {"tasks": "tasks", "ways": "ways", "side": "pixels"}
    slope = f"{_three_digits(fit['slope_ms'])} ms per {_AXES[name].unit}"
    r_squared = np.floor(1000 * fit["r_squared"]) / 1000  # not rounded up to 1
    return f"{kind} in {kinds[name]}: {slope}, R² {r_squared:.3f}"


def _three_digits(number: float) -> str:
    """Three significant digits, and all those before the point: 0.410, 795, 1325."""
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:#.3g}"


# ---- Drawing ---------------------------------------------------------------------------------------------------------


def draw(result: Mapping[str, Any], png: Path) -> None:
    """Draws a panel for each sweep: times with their quartiles, and the fitted line. Four panels are 1200 x 900 pixels.

    Args:
        result: as `measure` returns it, or as it was read from a file.
        png: the file to write.
    """
    sweeps = result["sweeps"]
    rows = (len(sweeps) + 1) // 2
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)
    figure = Figure(figsize=(10, 3.4 * rows + 0.7), dpi=_DPI, layout=layout)
    figure.suptitle(_setting(result["base"]), fontsize=10.5, color=INK)
    panels = figure.subplots(rows, 2, squeeze=False).ravel()
    for panel, (name, sweep) in zip(panels, sweeps.items(), strict=False):
        _draw_sweep(panel, name, sweep)
    for panel in panels[len(sweeps) :]:
        panel.axis("off")
    for panel in panels[::2]:
        panel.set_ylabel("time of a meta-step (ms)")
    panels[0].legend(frameon=False, loc="upper left")
    _save(figure, png)


def _setting(base: Mapping[str, int]) -> str:
    return (
        f"Time of one ANIL meta-step on Conv4-{base['filters']}. In each panel, what is not varied is:\n"
        f"B = {base['tasks']} tasks, {base['ways']}-way, {base['shots']} support and {base['queries']} query images "
        f"per class, {base['side']} x {base['side']} pixels, N = {base['inner_steps']} inner steps"
    )


def _draw_sweep(panel: Axes, name: str, sweep: Mapping[str, Any]) -> None:
    x, median = np.array(sweep["x"]), np.array(sweep["median_ms"])
    upper = np.array(sweep["upper_quartile_ms"])
    ends = np.array([0, x[-1]])
    line = sweep["fit"]["intercept_ms"] + sweep["fit"]["slope_ms"] * ends
    panel.plot(ends, line, color=ORANGE, linewidth=2, label="least squares")
    bars = [median - sweep["lower_quartile_ms"], upper - median]
    panel.errorbar(
        x, median, bars, fmt="o", markersize=5, color=BLUE, capsize=4, label="median and quartiles"
    )
    varied = _AXES[name].varied
    if varied is not None:
        _name_points(panel, [varied.format(value) for value in sweep["values"]], x, median)
    title = finding(name, sweep)
    panel.set_title(title[0].upper() + title[1:], fontsize=10.5, fontweight="bold", color=INK)
    panel.set_xlabel(sweep["x_label"])
    panel.set_xlim(0, 1.16 * x[-1])
    panel.set_ylim(0, 1.12 * upper.max())
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(color="#E4E4E4", linewidth=0.8)
    panel.set_axisbelow(True)


def _name_points(panel: Axes, names: Sequence[str], x: np.ndarray, y: np.ndarray) -> None:
    """Writes the names to the lower right of the points, which a rising line leaves free."""
    for name, across, up in zip(names, x, y, strict=True):
        panel.annotate(
            name,
            (across, up),
            xytext=(6, -11),
            textcoords="offset points",
            fontsize=9,
            color=INK,
        )


def _save(figure: Figure, png: Path) -> None:
    """Writes the figure with few colours: a third of the bytes, for the eye the same."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    PIL.Image.fromarray(pixels).quantize(_COLOURS).save(png, optimize=True)
