"""Pictures of a run: its curves, and a few episodes as the learner solved them.

Drawn with matplotlib's objects, without pyplot and its global state, in the Okabe-Ito colours,
which people with any colour vision can tell apart (https://jfly.uni-koeln.de/color). Vermillion is
kept for errors.
"""

from __future__ import annotations

import csv
import math
import pathlib
import string
from typing import Any

import keras
import numpy as np
import scipy.special
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

BLUE, ORANGE, GREEN, SKY_BLUE = "#0072B2", "#E69F00", "#009E73", "#56B4E9"
PURPLE, YELLOW, VERMILLION, GREY, INK = "#CC79A7", "#F0E442", "#D55E00", "#8C8C8C", "#222222"
_CLASS_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY_BLUE, YELLOW, GREY)
_MOST_CLASSES = 10
_CLASSES_SIDE_BY_SIDE = 5
_CELL, _NOTE_HEIGHT = 0.78, 0.3  # inches
_DPI = 120


def draw_curves(metrics_csv: str | pathlib.Path, png: str | pathlib.Path) -> None:
    """Draws loss and accuracy (regression: loss) of training and validation against meta-steps.

    The checkpoint that validation chose is marked: highest validation accuracy, or lowest
    validation loss.

    Args:
        metrics_csv: one row per epoch with the columns `step` (meta-steps done; else `epoch`,
            counted from 0), `loss`, `val_loss`, and `accuracy`, `val_accuracy` for classification.
        png: the file to write.

    Raises:
        ValueError: if the file has no rows.
    """
    rows = _read_rows(metrics_csv)
    by_step = "step" in rows
    steps = rows["step"] if by_step else rows["epoch"] + 1
    classification = "accuracy" in rows
    figure = Figure(figsize=(9.6 if classification else 5.4, 3.8), dpi=_DPI, layout="constrained")
    panels = figure.subplots(1, 2 if classification else 1, squeeze=False)[0]
    best = _best_row(rows)
    if classification:
        _draw_metric(panels[0], steps, rows, "accuracy", "accuracy of queries (%)", best)
    unit = "cross-entropy of queries (nats)" if classification else "mean squared error of queries"
    _draw_metric(panels[-1], steps, rows, "loss", unit, best)
    for panel in panels:
        panel.set_xlabel("meta-steps" if by_step else "epochs")
    figure.savefig(png)


def draw_episodes(
    learner: keras.Model, tasks: Any, png: str | pathlib.Path, *, episodes: int = 3
) -> None:
    """Draws the first episodes of `tasks` and what the learner answered.

    Classification: each column is a class; above its support images, below some of its queries, each with the answer
    and its probability. A wrong answer has a vermillion frame and a cross. Regression: the adapted function.

    Args:
        learner: a `MetaLearner`.
        tasks: `anil_tf.episodes.Tasks`.
        png: the file to write.
        episodes: how many.
    """
    _episodes_figure(learner, tasks, episodes).savefig(png)


def episode_image(learner: keras.Model, tasks: Any) -> np.ndarray:
    """The picture of the first episode of `tasks`, for TensorBoard.

    Args:
        learner: a `MetaLearner`.
        tasks: `anil_tf.episodes.Tasks`.

    Returns:
        [height, width, 3] uint8.
    """
    canvas = FigureCanvasAgg(_episodes_figure(learner, tasks, 1))
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _read_rows(metrics_csv: str | pathlib.Path) -> dict[str, np.ndarray]:
    with open(metrics_csv, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise ValueError(
            f"expected one row per epoch in {metrics_csv}, found none: no epoch has ended yet"
        )
    return {name: np.array([float(row[name] or "nan") for row in rows]) for name in rows[0]}


def _best_row(rows: dict[str, np.ndarray]) -> int | None:
    if "val_accuracy" in rows and np.isfinite(rows["val_accuracy"]).any():
        return int(np.nanargmax(rows["val_accuracy"]))
    if "val_loss" in rows and np.isfinite(rows["val_loss"]).any():
        return int(np.nanargmin(rows["val_loss"]))
    return None


def _draw_metric(
    panel: Axes,
    steps: np.ndarray,
    rows: dict[str, np.ndarray],
    name: str,
    label: str,
    best: int | None,
) -> None:
    scale = 100.0 if name == "accuracy" else 1.0
    marker = "o" if len(steps) < 3 else None
    panel.plot(
        steps, scale * rows[name], color=ORANGE, linestyle="--", marker=marker, label="training"
    )
    validation = rows.get(f"val_{name}")
    if validation is not None:
        panel.plot(steps, scale * validation, color=BLUE, marker=marker, label="validation")
        if best is not None:
            value = scale * validation[best]
            shown = f"{value:.1f} %" if name == "accuracy" else f"{value:.3g}"
            panel.plot(
                steps[best],
                value,
                "*",
                color=INK,
                markersize=13,
                label=f"chosen checkpoint: {shown}",
                zorder=3,
            )
    panel.set_ylabel(label)
    panel.margins(y=0.08)
    _plain(panel)
    panel.legend(frameon=False)


def _plain(panel: Axes) -> None:
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(color="#E4E4E4", linewidth=0.8)
    panel.set_axisbelow(True)


def _episodes_figure(learner: keras.Model, tasks: Any, episodes: int) -> Figure:
    solved = [_solve(learner, tasks, episode) for episode in range(episodes)]
    draw = _regression_figure if tasks.regression else _classification_figure
    return draw(solved, tasks)


def _solve(learner: keras.Model, tasks: Any, episode: int) -> dict[str, np.ndarray]:
    """One episode with the learner's predictions, and for regression with the curve in between."""
    step, position = divmod(episode, tasks.meta_batch_size)
    inputs, labels = tasks.batch(tasks.first_step + step)
    inputs = {name: np.asarray(value)[position : position + 1] for name, value in inputs.items()}
    solved = {**inputs, "query_labels": np.asarray(labels)[position : position + 1]}
    if tasks.regression:
        places = np.concatenate([inputs["support_images"], inputs["query_images"]], axis=1)
        grid = np.linspace(places.min(), places.max(), 200, dtype=np.float32)
        solved["grid"] = inputs["query_images"] = grid[None, :, None]
    solved["predictions"] = np.asarray(learner(inputs, training=False), np.float64)
    return {name: value[0] for name, value in solved.items()}


def _classification_figure(solved: list[dict[str, np.ndarray]], tasks: Any) -> Figure:
    classes = min(tasks.ways, _MOST_CLASSES)
    query_rows = min(2 if classes <= _CLASSES_SIDE_BY_SIDE else 1, tasks.queries)
    # Few classes: episodes side by side, a banner; many: one below the other.
    columns = len(solved) if classes <= _CLASSES_SIDE_BY_SIDE else 1
    rows = math.ceil(len(solved) / columns)
    width = max(columns * (_CELL * classes + 0.45), 4.6)
    height = rows * (_CELL * (1 + query_rows) + 0.22 * query_rows + 0.75) + _NOTE_HEIGHT
    note_share = _NOTE_HEIGHT / height
    layout = ConstrainedLayoutEngine(rect=(0.0, note_share, 1.0, 1.0 - note_share))
    figure = Figure(figsize=(width, height), dpi=_DPI, layout=layout)
    figure.text(0.01, 0.04 / height, _note(tasks, classes, query_rows), fontsize=8, color=INK)
    parts = figure.subfigures(rows, columns, squeeze=False, wspace=0.03).ravel()
    for number, (part, episode) in enumerate(zip(parts, solved, strict=True), start=1):
        right = int((episode["predictions"].argmax(axis=-1) == episode["query_labels"]).sum())
        total = len(episode["query_labels"])
        share = 100 * right / total
        part.suptitle(
            f"Episode {number}: {right} of {total} queries right ({share:.0f} %)", size=10
        )
        panels = part.subplots(1 + query_rows, classes, squeeze=False)
        _draw_support(panels[0], episode)
        _draw_queries(panels[1:], episode)
        panels[0, 0].set_ylabel("support", color=INK)
        for panel in panels[1:, 0]:
            panel.set_ylabel("query", color=INK)
    return figure


def _note(tasks: Any, classes: int, query_rows: int) -> str:
    shown = []
    if classes < tasks.ways:
        shown.append(f"{classes} of {tasks.ways} classes")
    if tasks.shots > 4:
        shown.append(f"4 of {tasks.shots} shots")
    if query_rows < tasks.queries:
        shown.append(f"{query_rows} of {tasks.queries} queries per class")
    note = f"{tasks.name}, {tasks.split} classes; each column is one class"
    return note + (f"; shown: {', '.join(shown)}." if shown else ".")


def _draw_support(panels: np.ndarray, episode: dict[str, np.ndarray]) -> None:
    for label, panel in enumerate(panels):
        images = episode["support_images"][episode["support_labels"] == label]
        colour = _CLASS_COLOURS[label % len(_CLASS_COLOURS)]
        _show(panel, _mosaic(images[:4]), _is_drawn(episode), colour, 2.5)
        panel.set_title(_letter(label), fontsize=11, fontweight="bold", color=INK, pad=3)


def _draw_queries(panels: np.ndarray, episode: dict[str, np.ndarray]) -> None:
    probabilities = scipy.special.softmax(episode["predictions"], axis=-1)
    for label in range(panels.shape[1]):
        members = np.flatnonzero(episode["query_labels"] == label)
        for panel, query in zip(panels[:, label], members, strict=False):
            answer, confidence = int(probabilities[query].argmax()), probabilities[query].max()
            wrong = answer != label
            frame, frame_width = (VERMILLION, 3.5) if wrong else ("#BBBBBB", 1.0)
            _show(panel, episode["query_images"][query], _is_drawn(episode), frame, frame_width)
            panel.set_xlabel(
                f"{'✗' if wrong else '✓'} {_letter(answer)} {100 * confidence:.0f} %",
                fontsize=8,
                fontweight="bold" if wrong else "normal",
                color=VERMILLION if wrong else INK,
                labelpad=3,
            )


def _is_drawn(episode: dict[str, np.ndarray]) -> bool:
    """Whether the images of an episode are ink on nothing, and so are to look like paper."""
    return bool(np.mean(episode["support_images"] == 0) > 0.5)


def _show(panel: Axes, image: np.ndarray, drawn: bool, frame: str, frame_width: float) -> None:
    # Matplotlib passes over colours and limits where an image has three channels.
    pixels = image[..., 0] if image.shape[-1] == 1 else image
    colours = "gray_r" if drawn else "gray"
    panel.imshow(pixels, cmap=colours, vmin=0, vmax=255, interpolation="nearest")
    panel.set(xticks=[], yticks=[])
    for spine in panel.spines.values():
        spine.set(edgecolor=frame, linewidth=frame_width)


def _mosaic(images: np.ndarray) -> np.ndarray:
    """Up to four images as one: [n, h, w, c] to [h, w, c] or, from two on, [2h, 2w, c]."""
    if len(images) == 1:
        return images[0]
    _, height, width, channels = images.shape
    empty = np.zeros_like(images[0]) if np.mean(images == 0) > 0.5 else np.full_like(images[0], 255)
    four = np.stack([*images, *[empty] * (4 - len(images))]).reshape(2, 2, height, width, channels)
    return four.transpose(0, 2, 1, 3, 4).reshape(2 * height, 2 * width, channels)


def _letter(label: int) -> str:
    """A, B, ... Z, A1, B1, ...: the name of a class within its episode."""
    turn, place = divmod(label, 26)
    return string.ascii_uppercase[place] + (str(turn) if turn else "")


def _regression_figure(solved: list[dict[str, np.ndarray]], tasks: Any) -> Figure:
    columns = min(len(solved), 3)
    rows = math.ceil(len(solved) / columns)
    figure = Figure(
        figsize=(max(3.6 * columns, 4.8), 3.2 * rows + 0.4), dpi=_DPI, layout="constrained"
    )
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for number, (panel, episode) in enumerate(zip(panels, solved, strict=False), start=1):
        panel.plot(
            episode["grid"].ravel(),
            episode["predictions"].ravel(),
            color=BLUE,
            linewidth=2,
            label="adapted function",
        )
        queries, values = episode["query_images"].ravel(), episode["query_labels"].ravel()
        panel.plot(
            queries, values, "o", color=GREY, markerfacecolor="white", label="queries (true values)"
        )
        supports = episode["support_images"].ravel(), episode["support_labels"].ravel()
        panel.plot(*supports, "D", color=ORANGE, markersize=7, label="support")
        # The queries' own predictions lie on the curve; read them off there.
        answers = np.interp(queries, episode["grid"].ravel(), episode["predictions"].ravel())
        error = np.mean((answers - values) ** 2)
        panel.set_title(f"Episode {number}: mean squared error {error:.3g}", fontsize=10)
        panel.set(xlabel="x")
        _plain(panel)
    for panel in panels[::columns]:
        panel.set(ylabel="y")
    for panel in panels[len(solved) :]:
        panel.axis("off")
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False
    )
    return figure
