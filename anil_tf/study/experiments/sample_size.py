"""Experiment 5, second half: shots and queries. What do more images in a task bring?"""

from __future__ import annotations

import math
import pathlib
from typing import TYPE_CHECKING

import numpy as np

from anil_tf.study import results, statistics
from anil_tf.study.cell import Cell
from anil_tf.study.claims import Claim, Picture, Rule, Table, Verdict
from anil_tf.study.experiment import Data, Experiment
from anil_tf.study.experiments import batch_size, usual_setting
from anil_tf.study.scale import Scale
from anil_tf.study.statistics import Interval

if TYPE_CHECKING:
    import pandas as pd

    from anil_tf.study.figures import Panel, Series

NAME = "sample_size"
TRAINING, VARIANCE = "training.run", "gradient_variance.run"  # kinds of cells
SIZES = {"smoke": (1,), "small": (1, 2, 5, 10), "long": (1, 2, 5, 10), "full": (1, 2, 5, 10)}
VARIED = ("shots", "queries")
INDIFFERENCE = 0.005  # nats per doubling: less would not be worth a query
_UNKNOWN = Interval(math.nan, -math.inf, math.inf, 0)

_VARIANCE_RULE = (
    "Variance of the whole meta-gradient of one task (head and body, the trace of the covariance over independent "
    "tasks) at parameters frozen after a training with the usual sizes; least-squares slope of its logarithm "
    "against the logarithm of {what} per class on each seed; Student's 95 % interval over seeds. Supported if the "
    "whole interval lies below 0, not supported if all of it lies above, else inconclusive."
)
_SHARED = (
    "On each seed all cells have the same initial weights. Their tasks have the same classes, but the cell's own "
    "number of shots, of which fewer are the first of more; the queries, as many in all cells, are partly other images."
)
RULES = {
    "shots_accuracy": Rule(
        "More shots: higher accuracy after the same number of meta-steps.",
        f"Accuracy on fixed tasks of the test classes at the last meta-step. {_SHARED} Its least-squares slope against "
        "log2 of the shots on each seed; "
        "Student's 95 % interval over seeds. Supported if the whole interval lies above 0, not supported if all of "
        "it lies below, else inconclusive.",
        "test accuracy per doubling of the shots",
        "points",
    ),
    "shots_variance": Rule(
        "More shots: a less noisy meta-gradient.",
        _VARIANCE_RULE.format(what="shots"),
        "exponent of the shots",
    ),
    "queries_variance": Rule(
        "More queries: a less noisy meta-gradient.",
        _VARIANCE_RULE.format(what="queries"),
        "exponent of the queries",
    ),
    "queries_convergence": Rule(
        "More queries: faster convergence per meta-step.",
        "The training loss on fixed tasks of the training classes, averaged over the meta-steps (the area under the "
        "curve); the tasks of the evaluation and their queries are the same for all cells that differ in queries, of "
        "which each trains with its own number. Its least-squares slope against log2 of the queries per class on each "
        "seed, all from the same weights; "
        "Student's 95 % interval over seeds. Supported if the whole interval lies below 0; not supported if all of "
        f"it lies above -{INDIFFERENCE:g} nats, an effect too small to matter; else inconclusive.",
        "mean training loss per doubling of the queries",
        "nats",
    ),
}

QUESTION = f"""\
A reviewer of the paper asked for the effect of the support and query sizes, and why the number of inner samples is
absent from the analysis. In the analysis as it is derived here a task's support and query sets are part of the task:
gradients of both are exact, and all that a sample does goes into the constants. This experiment looks into the
constants.

**Accuracy and convergence.** Training with 1 to 10 shots at the usual number of queries, and with 1 to 10 queries at
the usual number of shots, from the same weights ({usual_setting.IN_WORDS}). No claim of the paper is known here. More
shots should adapt better; more queries measure each task's loss better, and may or may not hasten training.

**What is shared.** All cells of a seed have the same initial weights, and the same classes in each task, in training
and in evaluation. Each class brings its images in one order: the first are support, the next are queries. So cells
that differ in queries train on the same support images and are evaluated on the very same tasks, with the usual
number of queries whatever they train with. Cells that differ in shots cannot be: the support of one is part of that
of another, and the queries are as many, but partly other images.

**Variance.** The meta-gradient of one task scatters because tasks differ, because the support is a sample, and
because the queries are. Only the last part falls as one over the queries, so that an exponent between -1 and 0 is
expected: near -1 if images are what is noisy, near 0 if tasks are. It is measured at frozen parameters, which are the
same for all sizes of a seed.

Batch normalisation sees support and queries of a task together, as in published rows; so the queries of a task also
improve its statistics, and a slope contains that, too.
"""


def cells(scale: Scale, data: Data) -> list[Cell]:
    """For each seed, a training run for each number of shots and of queries, and one measurement of the variance."""
    numbers = _numbers(scale)
    meta_steps = usual_setting.short_run(scale)
    training = [
        Cell(
            "training.run",
            usual_setting.settings(
                scale,
                data,
                seed=seed,
                meta_steps=meta_steps,
                shots=shots,
                queries=queries,
                evaluation_queries=scale.queries,  # one measuring stick
            ),
        )
        for shots, queries in numbers
        for seed in scale.seeds
    ]
    sizes = [f"1x{shots}x{queries}" for shots, queries in numbers]
    return [
        *(batch_size.variance_cell(scale, data, seed, sizes) for seed in scale.seeds),
        *training,
    ]


def _numbers(scale: Scale) -> list[tuple[int, int]]:
    """Shots and queries of the cells: each swept at the scale's own number of the other, which is one of them."""
    sizes = SIZES[scale.name]
    of_shots = {(shots, scale.queries) for shots in {*sizes, scale.shots}}
    of_queries = {(scale.shots, queries) for queries in {*sizes, scale.queries}}
    return sorted(of_shots | of_queries, reverse=True)


# ---- What is measured ------------------------------------------------------------------------------------------------


def sweep(rows: pd.DataFrame, varied: str, prefix: str = "") -> pd.DataFrame:
    """The rows in which only the shots, or only the queries, differ.

    Args:
        rows: of both sweeps, which cross in one cell.
        varied: "shots" or "queries".
        prefix: of the two columns.

    Returns:
        Those rows in which the other number is the one that most different values of `varied` were run with.
    """
    if rows.empty:
        return rows
    held = prefix + VARIED[1 - VARIED.index(varied)]
    usual = rows.groupby(held)[prefix + varied].nunique().idxmax()
    return rows[rows[held] == usual]


def variances(frame: pd.DataFrame) -> pd.DataFrame:
    """Variance and squared norm of the whole meta-gradient: a row for each seed and size."""
    rows = results.rows_of(frame, VARIANCE)
    if rows.empty:
        return rows
    by = ["seed", "measured_batch_size", "measured_shots", "measured_queries"]
    whole = rows.groupby(by, as_index=False)[["variance", "squared_norm"]].sum(min_count=1)
    return whole[whole["measured_batch_size"] == 1]


def exponent(frame: pd.DataFrame, varied: str) -> Interval:
    """The power of shots or queries by which the variance goes; unknown from fewer than two numbers of them."""
    rows = sweep(variances(frame), varied, "measured_")
    column = f"measured_{varied}"
    if rows.empty or rows[column].nunique() < 2:
        return _UNKNOWN
    return statistics.log_slope(*statistics.by_seed(rows, column, "variance"))


def ends(frame: pd.DataFrame) -> pd.DataFrame:
    """What each run comes to: a row for each seed, shots and queries.

    Returns:
        `accuracy`, on the test classes at the last meta-step in per cent, and `height`, the mean training loss over the
        meta-steps in nats.
    """
    import pandas as pd

    rows = results.rows_of(frame, TRAINING)
    if rows.empty:
        return rows
    by = ["seed", *VARIED]
    found = []
    for key, run in rows.groupby(by):
        run = run.sort_values("meta_step")
        measured = {
            "accuracy": 100 * run["test_accuracy"].iloc[-1],
            "height": statistics.area_under(run["meta_step"], run["train_loss"]),
        }
        found.append(dict(zip(by, key, strict=True)) | measured)
    return pd.DataFrame(found)


def trend(rows: pd.DataFrame, varied: str, value: str) -> Interval:
    """The slope of a column of `ends` per doubling of shots or queries."""
    part = sweep(rows, varied)
    if part.empty or part[varied].nunique() < 2:
        return _UNKNOWN
    numbers, values = statistics.by_seed(part, varied, value)
    return statistics.trend(np.log2(numbers.astype(float)), values)


# ---- Verdicts --------------------------------------------------------------------------------------------------------


def judge(frame: pd.DataFrame) -> list[Claim]:
    """One claim for each rule."""
    rows = ends(frame)
    accuracy = trend(rows, "shots", "accuracy")
    height = trend(rows, "queries", "height")
    found: dict[str, tuple[Interval, Verdict]] = {
        "shots_accuracy": (accuracy, statistics.decide(accuracy, "above")),
        "queries_convergence": (
            height,
            statistics.decide(height, "below", indifference=INDIFFERENCE),
        ),
    }
    for varied in VARIED:
        power = exponent(frame, varied)
        found[f"{varied}_variance"] = power, statistics.decide(power, "below")
    return [rule.claimed(NAME, *found[key]) for key, rule in RULES.items()]


# ---- Pictures --------------------------------------------------------------------------------------------------------


def draw(frame: pd.DataFrame, folder: pathlib.Path) -> list[Picture]:
    """Accuracy, mean training loss and variance against shots and against queries."""
    from anil_tf.study import figures

    rows, noise = ends(frame), variances(frame)
    panels = [
        *_end_panels(rows, "accuracy", "test accuracy (%)", "where training ends"),
        *_end_panels(rows, "height", "mean training loss (nats)", "how fast it gets there"),
        *_noise_panels(noise),
    ]
    if not panels:
        return []
    figures.draw(panels, folder / "sample_size.png", title="More images in a task", columns=3)
    return [
        Picture(
            "sample_size.png",
            "Against the number of images per class, shots in one line and queries in the other, the other number "
            "being held: accuracy on the test classes after the last meta-step; training loss averaged over the "
            "meta-steps; variance of one task's meta-gradient at frozen parameters, beside a line that falls as one "
            "over the number. 95 % intervals over seeds.",
        )
    ]


def _end_panels(rows: pd.DataFrame, value: str, label: str, title: str) -> list[Panel]:
    series = _lines(rows, value, "")
    return [_panel(series, label, title)] if series else []


def _noise_panels(rows: pd.DataFrame) -> list[Panel]:
    from anil_tf.study import figures

    series = _lines(rows, "variance", "measured_")
    if not series:
        return []
    of_queries = series[-1]
    numbers, values = np.asarray(of_queries.x, float), np.asarray(of_queries.y, float)
    falling = figures.Series("1/number", numbers, values[0] * numbers[0] / numbers, kind="bound")
    return [_panel([*series, falling], "variance of one task's meta-gradient", "noise", log_y=True)]


def _lines(rows: pd.DataFrame, value: str, prefix: str) -> list[Series]:
    """A line for shots and one for queries; a variance has geometric means."""
    from anil_tf.study import figures

    lines = []
    for style, varied in enumerate(VARIED if len(rows) else ()):
        part, x = sweep(rows, varied, prefix), prefix + varied
        if value == "variance":
            lines.append(batch_size.geometric(part, x, value, varied, style))
        else:
            lines.append(figures.measured(part, x=x, y=value, label=varied, style=style))
    return lines


def _panel(series: list[Series], label: str, title: str, log_y: bool = False) -> Panel:
    from anil_tf.study import figures

    numbers = sorted({int(number) for one in series for number in np.asarray(one.x)})
    return figures.Panel(
        series,
        x_label="images per class",
        y_label=label,
        title=title,
        log_x=True,
        log_y=log_y,
        ticks=numbers,
    )


# ---- Tables ----------------------------------------------------------------------------------------------------------


def tables(frame: pd.DataFrame) -> list[Table]:
    """Every size: where training with it ends, and the variance of the meta-gradient of a task."""
    import pandas as pd

    trained, noise, runs_of = ends(frame), variances(frame), results.rows_of(frame, TRAINING)
    if not noise.empty:
        noise = noise.rename(columns={f"measured_{varied}": varied for varied in VARIED})
    columns = {
        "accuracy": ("test accuracy at the end (%)", trained),
        "height": ("mean training loss (nats)", trained),
        "variance": ("variance of one task", noise),
        "squared_norm": ("squared norm", noise),
    }
    found: dict[tuple[int, ...], dict[str, float | Interval]] = {}
    for column, (name, rows) in columns.items():
        for size, of_seeds in rows.groupby(list(VARIED)) if len(rows) else ():
            found.setdefault(size, {})[name] = statistics.mean(of_seeds[column])
    for size, runs in runs_of.groupby(list(VARIED)) if len(runs_of) else ():
        found[size] |= usual_setting.curvature(runs)
    if not found:
        return []
    lines = [dict(zip(VARIED, size, strict=True)) | found[size] for size in sorted(found)]
    return [
        Table(
            "Every size",
            pd.DataFrame(lines),
            "Shots and queries per class. Variance and squared norm: of the whole meta-gradient, head and body, at "
            "parameters frozen after training with the usual sizes. With 95 % intervals over seeds. "
            f"{usual_setting.CURVATURE_NOTE}",
        )
    ]


EXPERIMENT = Experiment(
    name=NAME,
    title="The number of images in a task",
    question=QUESTION,
    rules=RULES,
    cells=cells,
    judge=judge,
    draw=draw,
    tables=tables,
)
