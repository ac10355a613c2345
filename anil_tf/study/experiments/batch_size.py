"""Experiment 5: B, the tasks in a meta-batch. How noisy is the meta-gradient, and what does less noise bring?"""

from __future__ import annotations

import math
import pathlib
from typing import TYPE_CHECKING

import numpy as np

from anil_tf.study import results, statistics
from anil_tf.study.cell import Cell
from anil_tf.study.claims import Claim, Picture, Rule, Table, Verdict
from anil_tf.study.experiment import Data, Experiment
from anil_tf.study.experiments import usual_setting
from anil_tf.study.measurements.gradient_variance import EXPONENT_TOLERANCE
from anil_tf.study.scale import Scale
from anil_tf.study.statistics import Interval

if TYPE_CHECKING:
    import pandas as pd

    from anil_tf.study.figures import Panel, Series

NAME = "batch_size"
TRAINING, VARIANCE = "training.run", "gradient_variance.run"  # kinds of cells
BLOCKS = ("head", "body")
# R, meta-batches of each size: a variance of normal vectors has a relative error of at most sqrt(2 / (R - 1)).
DRAWS = {"smoke": 8, "small": 40, "long": 128, "full": 256}
_UNKNOWN = Interval(math.nan, -math.inf, math.inf, 0)

_VARIANCE_RULE = (
    "Variance of the meta-gradient's {block} part at frozen parameters (the trace of its covariance over independent "
    "meta-batches); least-squares slope of its logarithm against log B on each seed; Student's 95 % interval over "
    "seeds. Supported if the whole interval lies within -1 +- {tolerance:g}, not supported if all of it lies outside, "
    "else inconclusive."
)
_HEIGHT = (
    "The training loss on fixed tasks, averaged over the meta-steps (the area under the curve), on each seed; all B "
    "of a seed begin with the same weights and are evaluated on the same tasks. "
)
RULES = {
    **{
        f"variance_{block}": Rule(
            f"The variance of the meta-gradient by the {block} falls as 1/B.",
            _VARIANCE_RULE.format(block=block, tolerance=EXPONENT_TOLERANCE),
            "exponent of B",
        )
        for block in BLOCKS
    },
    "convergence": Rule(
        "A larger B converges faster per meta-step.",
        f"{_HEIGHT}Its least-squares slope against log2 B; Student's 95 % interval over seeds. Supported if the "
        "whole interval lies below 0, not supported if all of it lies above, else inconclusive. A run that diverged "
        "has no area: inconclusive.",
        "mean training loss per doubling of B",
        "nats",
    ),
    "saturation": Rule(
        "What a doubling of B brings shrinks as B grows, as it does if the noise enters the rate as 1/B.",
        f"{_HEIGHT}What it falls by over the smaller half of the doublings of B minus what it falls by over the "
        "larger half, as many doublings in both: 1 to 4 and 8 to 32 where B goes from 1 to 32. Student's 95 % "
        "interval over seeds. Supported if the whole interval lies above 0, not supported if all of it lies below, "
        "else inconclusive.",
        "gain of small B minus gain of large B",
        "nats",
    ),
}

QUESTION = f"""\
A reviewer of the paper asked for a sweep of B, the number of tasks in a meta-step. In the derived rate the mean
squared meta-gradient is bounded by 2 Delta / K, which more meta-steps bring down, plus a constant over B, which only
more tasks per meta-step do.

**Variance.** A learner is trained for a while, then its parameters are frozen, and the meta-gradient is taken on many
independent meta-batches of each B, for head and body apart. If tasks are drawn independently, and none leaks into its
neighbour through batch statistics, the variance *must* be proportional to 1/B: the exponent tests the sampler, the
normalisation and the engines as much as the theory. So the meta-batches are the very ones that training would see.
They are not put together from gradients of single tasks, which would give 1/B for nothing.

**Convergence.** Training with each B from the same weights in the same setting ({usual_setting.IN_WORDS}): the loss
against meta-steps, where a larger B should be ahead, by less and less; and against tasks seen, where it has to pay
for it. On each seed all B share the initial weights and the tasks of the evaluation. The tasks they train on they
share in part: those of a meta-step with a smaller B are the first of those that a larger B has in it.

Beside the variance stands the squared norm of the meta-gradient itself. B_noise, where the variance has fallen to
that size, is the B up to which a meta-step is mostly noise.
"""


def cells(scale: Scale, data: Data) -> list[Cell]:
    """For each seed, a training run for each B and one measurement of the variance for all B."""
    training = [
        Cell(
            "training.run",
            usual_setting.settings(
                scale, data, seed=seed, meta_steps=run_length(scale), meta_batch_size=size
            ),
        )
        for size in reversed(scale.meta_batch_sizes)  # the longest first
        for seed in scale.seeds
    ]
    sizes = [f"{size}x{scale.shots}x{scale.queries}" for size in scale.meta_batch_sizes]
    return [*(variance_cell(scale, data, seed, sizes) for seed in scale.seeds), *training]


def run_length(scale: Scale) -> int:
    """Meta-steps of the training runs: twice a short run, in which a large B has not gone far enough to be told."""
    return min(scale.meta_steps, 2 * usual_setting.short_run(scale))


def variance_cell(scale: Scale, data: Data, seed: int, sizes: list[str]) -> Cell:
    """The variance of the meta-gradient for meta-batches of these sizes, after a short training.

    Args:
        scale: the sizes of the network and of the training.
        data: the data set.
        seed: of weights and tasks.
        sizes: as `gradient_variance.Size` reads them, such as "4x5x10".
    """
    usual = usual_setting.settings(
        scale, data, seed=seed, meta_steps=usual_setting.short_run(scale)
    )
    trained = {k: v for k, v in usual.items() if k not in ("checkpoints", "evaluation_tasks")}
    return Cell(
        "gradient_variance.run",
        {**trained, "sizes": " ".join(sizes), "draws": DRAWS[scale.name]},
    )


# ---- What is measured ------------------------------------------------------------------------------------------------


def variances(frame: pd.DataFrame, block: str) -> pd.DataFrame:
    """The rows of one block, "head" or "body": a row for each seed and `measured_batch_size`."""
    rows = results.rows_of(frame, VARIANCE)
    return rows[rows["block"] == block] if not rows.empty else rows


def exponent(rows: pd.DataFrame) -> Interval:
    """The power of B by which the variance goes; unknown from fewer than two B."""
    if rows.empty or rows["measured_batch_size"].nunique() < 2:
        return _UNKNOWN
    return statistics.log_slope(*statistics.by_seed(rows, "measured_batch_size", "variance"))


def heights(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """B, [points], and the mean height of each training curve, nats [seeds, points]; nan for a run that is missing."""
    import pandas as pd

    rows = results.rows_of(frame, TRAINING)
    if rows.empty:
        return np.zeros(0), np.zeros([0, 0])
    found = [
        {
            "seed": seed,
            "size": size,
            "height": statistics.area_under(run["meta_step"], run["train_loss"]),
        }
        for (seed, size), run in rows.groupby(["seed", "meta_batch_size"])
    ]
    return statistics.by_seed(pd.DataFrame(found), "size", "height")


def saturation(sizes: np.ndarray, heights_by_seed: np.ndarray) -> Interval:
    """The fall of the height over the smaller half of the doublings of B, minus that over the larger half.

    Args:
        sizes: B, [points]; unknown unless they are three or more, each twice the one before.
        heights_by_seed: [seeds, points].
    """
    points = len(sizes)
    if points < 3 or (sizes[1:] != 2 * sizes[:-1]).any():
        return _UNKNOWN
    half = (points - 1) // 2
    small = heights_by_seed[:, 0] - heights_by_seed[:, half]
    large = heights_by_seed[:, points - 1 - half] - heights_by_seed[:, -1]
    return statistics.paired(small, large)


# ---- Verdicts --------------------------------------------------------------------------------------------------------


def judge(frame: pd.DataFrame) -> list[Claim]:
    """One claim for each rule."""
    found: dict[str, tuple[Interval, Verdict]] = {}
    for block in BLOCKS:
        power = exponent(variances(frame, block))
        found[f"variance_{block}"] = (
            power,
            statistics.decide_equal(power, to=-1.0, tolerance=EXPONENT_TOLERANCE),
        )
    sizes, curves = heights(frame)
    slope = statistics.trend(np.log2(sizes), curves) if len(sizes) > 1 else _UNKNOWN
    found["convergence"] = slope, statistics.decide(slope, "below")
    shrinks = saturation(sizes, curves)
    found["saturation"] = shrinks, statistics.decide(shrinks, "above")
    return [rule.claimed(NAME, *found[key]) for key, rule in RULES.items()]


# ---- Pictures --------------------------------------------------------------------------------------------------------


def draw(frame: pd.DataFrame, folder: pathlib.Path) -> list[Picture]:
    """Variance against B, and the training loss against meta-steps and against tasks."""
    from anil_tf.study import figures

    panels = [panel for panel in (_variance_panel(frame), *_loss_panels(frame)) if panel]
    if not panels:
        return []
    figures.draw(panels, folder / "batch_size.png", title="More tasks in a meta-step")
    return [
        Picture(
            "batch_size.png",
            "Left: variance of the meta-gradient at frozen parameters, with 95 % intervals over seeds, and the line "
            "of 1/B through B = 1. Middle: training loss on fixed tasks against meta-steps. Right: the same against "
            "the tasks that were drawn. Bands are the range of the seeds.",
        )
    ]


def _variance_panel(frame: pd.DataFrame) -> Panel | None:
    from anil_tf.study import figures

    series: list[Series] = []
    sizes: list[int] = []
    for style, block in enumerate(BLOCKS):
        rows = variances(frame, block)
        if rows.empty:
            continue
        points = geometric(rows, "measured_batch_size", "variance", f"{block}, measured", style)
        sizes = [int(size) for size in np.asarray(points.x)]
        one = float(np.asarray(points.y)[0])
        label = "1/B (theory)" if not series else ""
        theory = figures.bound(sizes, [one * sizes[0] / size for size in sizes], label)
        series += [points, theory]
    if not series:
        return None
    return figures.Panel(
        series,
        x_label="tasks in a meta-batch, B",
        y_label="variance of the meta-gradient",
        title="noise",
        log_x=True,
        log_y=True,
        ticks=sizes,
    )


def geometric(rows: pd.DataFrame, x: str, y: str, label: str, style: int) -> Series:
    """Geometric means with their 95 % intervals over seeds, which stay above zero.

    Args:
        rows: one for each seed and x.
        x: the column that goes to the right.
        y: the column of positive numbers.
        label: for the legend.
        style: see `figures.Series`.
    """
    from anil_tf.study import figures

    places, values = statistics.by_seed(rows, x, y)
    found = [statistics.ratio(column, np.ones(len(column))) for column in values.T]
    return figures.Series(
        label,
        places,
        [one.center for one in found],
        [one.low for one in found],
        [one.high for one in found],
        "points",
        style,
    )


def _loss_panels(frame: pd.DataFrame) -> list[Panel]:
    from anil_tf.study import figures

    rows = results.rows_of(frame, TRAINING)
    if rows.empty:
        return []
    rows = rows.assign(tasks=rows["meta_step"] * rows["meta_batch_size"])
    panels = []
    for x, label, title in (
        ("meta_step", "meta-steps", "per meta-step"),
        ("tasks", "tasks drawn", "per task"),
    ):
        shown = rows if x == "meta_step" else rows[rows["tasks"] > 0]
        lines = figures.curves(shown, x=x, y="train_loss", by="meta_batch_size", label="B = {}")
        panels.append(
            figures.Panel(
                lines,
                x_label=label,
                y_label="training loss (nats)",
                title=title,
                log_x=x == "tasks",
            )
        )
    return panels


# ---- Tables ----------------------------------------------------------------------------------------------------------


def tables(frame: pd.DataFrame) -> list[Table]:
    """The noise of each block, and where the runs end."""
    return [table for table in (_noise_table(frame), _end_table(frame)) if table]


def _noise_table(frame: pd.DataFrame) -> Table | None:
    import pandas as pd

    lines = []
    for block in BLOCKS:
        rows = variances(frame, block)
        if rows.empty:
            continue
        per_task = (rows["variance"] * rows["measured_batch_size"]).groupby(rows["seed"]).mean()
        squared_norm = rows.groupby("seed")["squared_norm"].mean()
        lines.append(
            {
                "block": block,
                "parameters": int(rows["parameters"].iloc[0]),
                "exponent of B": exponent(rows),
                "variance of one task": statistics.mean(per_task),
                "squared norm": statistics.mean(squared_norm),
                "B_noise": statistics.ratio(per_task, squared_norm),
            }
        )
    if not lines:
        return None
    return Table(
        "Noise of the meta-gradient",
        pd.DataFrame(lines),
        "Variance of one task: B times the variance of a meta-batch, averaged over all B. Squared norm: of the "
        "expected meta-gradient, unbiased. B_noise: their ratio, the B at which noise and signal are of one size. "
        "All with 95 % intervals over seeds.",
    )


def _end_table(frame: pd.DataFrame) -> Table | None:
    import pandas as pd

    rows = results.rows_of(frame, TRAINING)
    if rows.empty:
        return None
    sizes, curves = heights(frame)
    lines = []
    for place, size in enumerate(sizes):
        runs = rows[rows["meta_batch_size"] == size]
        last = runs[runs["meta_step"] == runs["meta_step"].max()]
        lines.append(
            {
                "B": int(size),
                "meta-steps": int(last["meta_step"].iloc[0]),
                "tasks drawn": int(last["meta_step"].iloc[0] * size),
                "mean training loss (nats)": statistics.mean(curves[:, place]),
                "training loss at the end (nats)": statistics.mean(last["train_loss"]),
                "test accuracy at the end (%)": statistics.mean(100 * last["test_accuracy"]),
            }
            | usual_setting.curvature(runs)
        )
    note = f"With 95 % intervals over seeds. {usual_setting.CURVATURE_NOTE}"
    return Table("Training with each B", pd.DataFrame(lines), note)


EXPERIMENT = Experiment(
    name=NAME,
    title="The number of tasks in a meta-step",
    question=QUESTION,
    rules=RULES,
    cells=cells,
    judge=judge,
    draw=draw,
    tables=tables,
)
