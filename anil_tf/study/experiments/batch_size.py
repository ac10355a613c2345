"""Experiment 5: B, the tasks in a meta-batch. How noisy is the meta-gradient, and what does less noise bring?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from anil_tf.study import figures, results, statistics, usual_setting
from anil_tf.study.cell import Cell
from anil_tf.study.claims import ATTRIBUTED, DERIVATION, REVIEWER, Above, Below, Claim, Within
from anil_tf.study.experiment import Data, Experiment, Picture, Table
from anil_tf.study.figures import Panel, Series
from anil_tf.study.scale import Scale
from anil_tf.study.statistics import UNKNOWN, Interval
from anil_tf.study.sweeps import TRAINING

VARIANCE = "gradient_variance.run"  # kind of the cells that measure the noise
BLOCKS = ("head", "body")
# R, meta-batches of each size: a variance of normal vectors has a relative error of at most sqrt(2 / (R - 1)).
DRAWS = {"smoke": 8, "small": 40, "long": 128, "full": 256}
# The exponent of B lies within -1 +- it. From 64 draws of each of B = 1, 2, ..., 32 on 3 seeds the 95 % interval is
# about as wide at worst, where one direction holds all the noise.
EXPONENT_TOLERANCE = 0.15

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
    # Twice a short run, in which a large B has not gone far enough to be told.
    meta_steps = min(scale.meta_steps, 2 * usual_setting.short_run(scale))
    runs = [
        usual_setting.training_cell(
            scale, data, seed=seed, meta_steps=meta_steps, meta_batch_size=size
        )
        for size in reversed(scale.meta_batch_sizes)  # the longest first
        for seed in scale.seeds
    ]
    sizes = [f"{size}x{scale.shots}x{scale.queries}" for size in scale.meta_batch_sizes]
    return [variance_cell(scale, data, seed, sizes) for seed in scale.seeds] + runs


def variance_cell(scale: Scale, data: Data, seed: int, sizes: list[str]) -> Cell:
    """The variance of the meta-gradient for some sizes of meta-batches, after a short training.

    Args:
        scale: the sizes of the network and of the training.
        data: the data set.
        seed: of weights and tasks.
        sizes: tasks x shots x queries, such as "4x5x10".
    """
    settings = usual_setting.settings(
        scale, data, seed=seed, meta_steps=usual_setting.short_run(scale)
    )
    trained = {k: v for k, v in settings.items() if k not in ("checkpoints", "evaluation_tasks")}
    return Cell(VARIANCE, {**trained, "sizes": " ".join(sizes), "draws": DRAWS[scale.name]})


# ---- Claims ----------------------------------------------------------------------------------------------------------


def exponent(rows: pd.DataFrame, size: str) -> Interval | None:
    """The power of a size, a column, by which the variance goes; unknown from fewer than two sizes."""
    if rows.empty:
        return None
    sizes, variances = statistics.by_seed(rows, size, "variance")
    return statistics.log_slope(sizes, variances) if len(sizes) > 1 else UNKNOWN


def noise(frame: pd.DataFrame, block: str) -> pd.DataFrame:
    """The variances of one block: a row for each seed and `measured_batch_size`."""
    rows = results.rows_of(frame, VARIANCE)
    return rows if rows.empty else rows[rows["block"] == block]


def per_doubling(sizes: np.ndarray, numbers: np.ndarray) -> Interval | None:
    """The change of a number, [seeds, sizes], for each doubling of a size; unknown from fewer than two sizes."""
    if not len(sizes):
        return None
    return statistics.trend(np.log2(sizes), numbers) if len(sizes) > 1 else UNKNOWN


def height(run: pd.DataFrame) -> float:
    """The mean height of a training curve, in nats."""
    return statistics.area_under(run["meta_step"], run["train_loss"])


def heights(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """B, [points], and the `height` of each run, [seeds, points]; nan for a run that is missing."""
    return statistics.by_seed(results.rows_of(frame, TRAINING), "meta_batch_size", height)


def saturation(frame: pd.DataFrame) -> Interval | None:
    """The fall of the height over the smaller half of the doublings of B, minus that over the larger half."""
    sizes, found = heights(frame)
    if not len(sizes):
        return None
    if len(sizes) < 3 or (sizes[1:] != 2 * sizes[:-1]).any():
        return UNKNOWN
    half = (len(sizes) - 1) // 2
    return statistics.paired(found[:, 0] - found[:, half], found[:, -1 - half] - found[:, -1])


VARIANCE_SLOPE = (
    "The variance of {what} at frozen parameters is the trace of its covariance over independent meta-batches; the "
    "number is the least-squares slope of its logarithm against that of {size} on each seed."
)
HEIGHT = "The training loss on fixed tasks, averaged over the meta-steps (the area under the curve), on each seed;"
_HEIGHT_OF_B = (
    f"{HEIGHT} all B of a seed begin with the same weights and are evaluated on the same tasks. A run that diverged "
    "has no area."
)


def _variance_claim(block: str) -> Claim:
    return Claim(
        key=f"variance_{block}",
        text=f"The variance of the meta-gradient by the {block} falls as 1/B.",
        said_by=f"{ATTRIBUTED}, {DERIVATION}",
        statistic=lambda frame: exponent(noise(frame, block), "measured_batch_size"),
        words=VARIANCE_SLOPE.format(what=f"the meta-gradient's {block} part", size="B"),
        test=Within(-1 - EXPONENT_TOLERANCE, -1 + EXPONENT_TOLERANCE),
        number="exponent of B",
    )


CLAIMS = [
    *map(_variance_claim, BLOCKS),
    Claim(
        key="convergence",
        text="A larger B converges faster per meta-step.",
        said_by=REVIEWER,
        statistic=lambda frame: per_doubling(*heights(frame)),
        words=f"{_HEIGHT_OF_B} The number is its least-squares slope against log2 B.",
        test=Below(0.0),
        number="mean training loss per doubling of B",
        unit="nats",
    ),
    Claim(
        key="saturation",
        text="What a doubling of B brings shrinks as B grows, as it does if the noise enters the rate as 1/B.",
        said_by=REVIEWER,
        statistic=saturation,
        words=f"{_HEIGHT_OF_B} The number is what it falls by over the smaller half of the doublings of B minus what "
        "it falls by over the larger half, as many doublings in both: 1 to 4 and 8 to 32 where B goes from 1 to 32.",
        test=Above(0.0),
        number="gain of small B minus gain of large B",
        unit="nats",
    ),
]


# ---- Pictures and tables ---------------------------------------------------------------------------------------------


def _panels(frame: pd.DataFrame) -> list[Panel]:
    """Variance against B, and the training loss against meta-steps and against tasks."""
    panels = []
    variances = results.rows_of(frame, VARIANCE)
    if len(variances):
        panels.append(_variance_panel(variances))
    rows = results.rows_of(frame, TRAINING)
    if len(rows):
        rows = rows.assign(tasks=rows["meta_step"] * rows["meta_batch_size"])
        panels += [
            _loss_panel(rows, "meta_step", "meta-steps", "per meta-step"),
            _loss_panel(rows[rows["tasks"] > 0], "tasks", "tasks drawn", "per task", log_x=True),
        ]
    return panels


def inverse(points: Series, label: str) -> Series:
    """What falls as 1/x from the first of some points on."""
    x, y = np.asarray(points.x), np.asarray(points.y)
    return figures.bound(x, y[0] * x[0] / x, label)


def _variance_panel(rows: pd.DataFrame) -> Panel:
    series, x = [], "measured_batch_size"
    for style, (block, label) in enumerate(zip(BLOCKS, ("1/B (theory)", ""), strict=True)):
        part = rows[rows["block"] == block]
        points = figures.geometric(part, x=x, y="variance", label=f"{block}, measured", style=style)
        series += [points, inverse(points, label)]
    labels = ("tasks in a meta-batch, B", "variance of the meta-gradient", "noise")
    return Panel(series, *labels, log_x=True, log_y=True, ticks=sorted(set(rows[x])))


def _loss_panel(rows: pd.DataFrame, x: str, label: str, title: str, log_x: bool = False) -> Panel:
    lines = figures.curves(rows, x=x, y="train_loss", by="meta_batch_size", label="B = {}")
    return Panel(lines, label, "training loss (nats)", title, log_x=log_x)


def noise_table(frame: pd.DataFrame) -> Table | None:
    """The noise of each block."""
    lines = []
    for block in BLOCKS:
        rows = noise(frame, block)
        if rows.empty:
            return None
        per_task = (rows["variance"] * rows["measured_batch_size"]).groupby(rows["seed"]).mean()
        squared_norm = rows.groupby("seed")["squared_norm"].mean()
        lines.append(
            {
                "block": block,
                "parameters": int(rows["parameters"].iloc[0]),
                "exponent of B": exponent(rows, "measured_batch_size"),
                "variance of one task": statistics.mean(per_task),
                "squared norm": statistics.mean(squared_norm),
                "B_noise": statistics.ratio(per_task, squared_norm),
            }
        )
    note = (
        "Variance of one task: B times the variance of a meta-batch, averaged over all B. Squared norm: of the "
        "expected meta-gradient, unbiased. B_noise: their ratio, the B at which noise and signal are of one size. "
        "All with 95 % intervals over seeds."
    )
    return Table("Noise of the meta-gradient", pd.DataFrame(lines), note)


def end_table(frame: pd.DataFrame) -> Table | None:
    """Where the runs of each B end."""
    lines = []
    for size, found in zip(*(np.transpose(one) for one in heights(frame)), strict=True):
        runs = results.rows_of(frame, TRAINING, meta_batch_size=size)
        end = int(runs["meta_step"].max())
        last = runs[runs["meta_step"] == end]
        lines.append(
            {
                "B": int(size),
                "meta-steps": end,
                "tasks drawn": int(end * size),
                "mean training loss (nats)": statistics.mean(found),
                "training loss at the end (nats)": statistics.mean(last["train_loss"]),
                "test accuracy at the end (%)": statistics.mean(100 * last["test_accuracy"]),
            }
            | usual_setting.curvature(runs)
        )
    note = f"With 95 % intervals over seeds. {usual_setting.CURVATURE_NOTE}"
    return Table("Training with each B", pd.DataFrame(lines), note) if lines else None


EXPERIMENT = Experiment(
    module=__name__,
    order=5,
    title="The number of tasks in a meta-step",
    lead="The rates have two parts: one falls with the number of meta-steps, the other with the number of tasks in "
    "each of them. This is the second.",
    question=QUESTION,
    cells=cells,
    claims=CLAIMS,
    pictures=[
        Picture(
            "batch_size.png",
            "More tasks in a meta-step",
            "Left: variance of the meta-gradient at frozen parameters, with 95 % intervals over seeds, and the line "
            "of 1/B through B = 1. Middle: training loss on fixed tasks against meta-steps. Right: the same against "
            "the tasks that were drawn. Bands are the range of the seeds.",
            _panels,
        )
    ],
    tables=[noise_table, end_table],
)
