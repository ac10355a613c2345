"""Experiment 5, second half: shots and queries. What do more images in a task bring?"""

from __future__ import annotations

import pandas as pd

from anil_tf.study import figures, results, statistics, usual_setting
from anil_tf.study.cell import Cell
from anil_tf.study.claims import REVIEWER, Above, Below, Claim
from anil_tf.study.experiment import Data, Experiment, Picture, Table
from anil_tf.study.experiments import batch_size
from anil_tf.study.figures import Panel
from anil_tf.study.scale import Scale
from anil_tf.study.statistics import Interval
from anil_tf.study.sweeps import TRAINING

SIZES = {"smoke": (1,), "small": (1, 2, 5, 10), "long": (1, 2, 5, 10), "full": (1, 2, 5, 10)}
VARIED = ("shots", "queries")
INDIFFERENCE = 0.005  # nats per doubling: less would not be worth a query

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
    # Each is swept at the scale's own number of the other, which is one of them.
    sizes = SIZES[scale.name]
    of_shots = {(shots, scale.queries) for shots in {*sizes, scale.shots}}
    of_queries = {(scale.shots, queries) for queries in {*sizes, scale.queries}}
    numbers = sorted(of_shots | of_queries, reverse=True)
    shared = {
        "meta_steps": usual_setting.short_run(scale),
        "evaluation_queries": scale.queries,  # one measuring stick
    }
    runs = [
        usual_setting.training_cell(scale, data, seed=seed, shots=shots, queries=queries, **shared)
        for shots, queries in numbers
        for seed in scale.seeds
    ]
    measured = [f"1x{shots}x{queries}" for shots, queries in numbers]
    return [batch_size.variance_cell(scale, data, seed, measured) for seed in scale.seeds] + runs


# ---- Claims ----------------------------------------------------------------------------------------------------------


def sweep(rows: pd.DataFrame, varied: str) -> pd.DataFrame:
    """The rows in which only the shots, or only the queries, differ: those with the usual number of the other."""
    if rows.empty:
        return rows
    held = VARIED[1 - VARIED.index(varied)]
    return rows[rows[held] == rows.groupby(held)[varied].nunique().idxmax()]


def variances(frame: pd.DataFrame) -> pd.DataFrame:
    """Variance and squared norm of the whole meta-gradient of one task: a row for each seed, shots and queries."""
    rows = results.rows_of(frame, batch_size.VARIANCE)
    if rows.empty:
        return rows
    # The columns of these names tell what the parameters were trained with.
    rows = rows.assign(**{varied: rows[f"measured_{varied}"] for varied in VARIED})
    blocks = rows[rows["measured_batch_size"] == 1].groupby(["seed", *VARIED], as_index=False)
    return blocks[["variance", "squared_norm"]].sum(min_count=1)


def ends(frame: pd.DataFrame) -> pd.DataFrame:
    """What each run comes to: `accuracy`, on the test classes at the last meta-step in per cent, and `height`."""
    rows = results.rows_of(frame, TRAINING)
    if rows.empty:
        return rows
    runs = rows.sort_values("meta_step").groupby(["seed", *VARIED])
    found = {
        # As it stands: `last` would pass over a last checkpoint that is missing.
        "accuracy": runs["test_accuracy"].agg(lambda column: 100 * column.iloc[-1]),
        "height": runs[["meta_step", "train_loss"]].apply(batch_size.height),
    }
    return pd.DataFrame(found).reset_index()


def trend(frame: pd.DataFrame, varied: str, value: str) -> Interval | None:
    """The slope of a column of `ends` per doubling of shots or queries."""
    return batch_size.per_doubling(*statistics.by_seed(sweep(ends(frame), varied), varied, value))


def _variance_claim(varied: str) -> Claim:
    slope = batch_size.VARIANCE_SLOPE.format(
        what="the whole meta-gradient of one task, head and body,", size=f"the {varied} per class"
    )
    return Claim(
        key=f"{varied}_variance",
        text=f"More {varied}: a less noisy meta-gradient.",
        said_by=REVIEWER,
        statistic=lambda frame: batch_size.exponent(sweep(variances(frame), varied), varied),
        words=f"{slope} The parameters were trained with the usual sizes.",
        test=Below(0.0),
        number=f"exponent of the {varied}",
    )


CLAIMS = [
    Claim(
        key="shots_accuracy",
        text="More shots: higher accuracy after the same number of meta-steps.",
        said_by=REVIEWER,
        statistic=lambda frame: trend(frame, "shots", "accuracy"),
        words="Accuracy on fixed tasks of the test classes at the last meta-step; its least-squares slope against log2 "
        "of the shots on each seed. All cells of a seed have the same initial weights and tasks of the same classes; "
        "fewer shots are the first of more, and the queries, as many in all cells, are partly other images.",
        test=Above(0.0),
        number="test accuracy per doubling of the shots",
        unit="points",
    ),
    *map(_variance_claim, VARIED),
    Claim(
        key="queries_convergence",
        text="More queries: faster convergence per meta-step.",
        said_by=REVIEWER,
        statistic=lambda frame: trend(frame, "queries", "height"),
        words=f"{batch_size.HEIGHT} the tasks of the evaluation and their queries are the same for all cells that "
        "differ in queries, of which each trains with its own number, all from the same weights. The number is its "
        "least-squares slope against log2 of the queries per class.",
        test=Below(0.0, indifference=INDIFFERENCE),
        number="mean training loss per doubling of the queries",
        unit="nats",
    ),
]


# ---- Pictures and tables ---------------------------------------------------------------------------------------------


def _panels(frame: pd.DataFrame) -> list[Panel]:
    """Accuracy, mean training loss and variance against shots and against queries."""
    trained, noise = ends(frame), variances(frame)
    panels = []
    if len(trained):
        panels += [
            _panel(trained, "accuracy", "test accuracy (%)", "where training ends"),
            _panel(trained, "height", "mean training loss (nats)", "how fast it gets there"),
        ]
    if len(noise):
        panels.append(_panel(noise, "variance", "variance of one task's meta-gradient", "noise"))
    return panels


def _panel(rows: pd.DataFrame, value: str, label: str, title: str) -> Panel:
    """A line for shots and one for queries; a variance has geometric means, and a line that falls as one over them."""
    is_variance = value == "variance"
    draw = figures.geometric if is_variance else figures.measured
    series = [
        draw(sweep(rows, varied), x=varied, y=value, label=varied, style=style)
        for style, varied in enumerate(VARIED)
    ]
    if is_variance:
        series.append(batch_size.inverse(series[-1], "1/number"))
    ticks = sorted({*rows["shots"], *rows["queries"]})
    labels = ("images per class", label, title)
    return Panel(series, *labels, log_x=True, log_y=is_variance, ticks=ticks)


_COLUMNS = {
    "accuracy": "test accuracy at the end (%)",
    "height": "mean training loss (nats)",
    "variance": "variance of one task",
    "squared_norm": "squared norm",
}


def size_table(frame: pd.DataFrame) -> Table | None:
    """Every size: where training with it ends, and the variance of the meta-gradient of a task."""
    by_size, parts = list(VARIED), []
    for rows in (ends(frame), variances(frame)):
        if len(rows):
            columns = [name for name in _COLUMNS if name in rows]
            parts.append(rows.groupby(by_size)[columns].agg(statistics.mean))
    runs = results.rows_of(frame, TRAINING)
    if len(runs):
        curvature = {size: usual_setting.curvature(part) for size, part in runs.groupby(by_size)}
        parts.append(pd.DataFrame.from_dict(curvature, orient="index"))
    if not parts:
        return None
    found = pd.concat(parts, axis=1).rename(columns=_COLUMNS).rename_axis(by_size).reset_index()
    note = (
        "Shots and queries per class. Variance and squared norm: of the whole meta-gradient, head and body, at "
        "parameters frozen after training with the usual sizes. With 95 % intervals over seeds. "
        f"{usual_setting.CURVATURE_NOTE}"
    )
    return Table("Every size", found, note)


EXPERIMENT = Experiment(
    module=__name__,
    order=6,
    title="The number of images in a task",
    lead="The analysis does not know how many images a task has. Training does.",
    question=QUESTION,
    cells=cells,
    claims=CLAIMS,
    pictures=[
        Picture(
            "sample_size.png",
            "More images in a task",
            "Against the number of images per class, shots in one line and queries in the other, the other number "
            "being held: accuracy on the test classes after the last meta-step; training loss averaged over the "
            "meta-steps; variance of one task's meta-gradient at frozen parameters, beside a line that falls as one "
            "over the number. 95 % intervals over seeds.",
            _panels,
            columns=3,
        )
    ],
    tables=[size_table],
)
