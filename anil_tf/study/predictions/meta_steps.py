"""P6 and P7: what an inner step adds to the time of a meta-step, and where a descent ends with a longer inner loop.

P5, that meta-steps fall with N and that work has its minimum between, is judged by the experiment `complexity`.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from anil_tf.study import figures, results, statistics
from anil_tf.study.cell import Cell, Scalar
from anil_tf.study.claims import DERIVATION, Above, Below, Claim, Measured
from anil_tf.study.experiment import Data, Picture, Table
from anil_tf.study.figures import Panel, Series
from anil_tf.study.predictions.shared import NO_WIDTH, cell, rows_of, with_width
from anil_tf.study.scale import Scale
from anil_tf.study.statistics import UNKNOWN

TIMING = "timing.run"
TIMED = (1, 10, 30)  # the N of P6
CHEAP = 0.05  # b/a: one inner step over all that a meta-step takes whatever N is
INNER_STEPS = (1, 5, 20)  # the N of P7
META_STEPS = 30
TASKS = 8
L2 = 0.05  # of the linear head, whose L alpha is measured in, in both geometries: a reviewer asked for it
SMALL, LARGE = 0.5, 8.0  # alpha L: on the safe side of 2, and far beyond it
OUTER_STEP_SIZE = 0.3
HARMLESS = 0.01  # of ln loss for each doubling of N
_RULES = {"small": (SMALL, "fixed"), "large": (LARGE, "fixed"), "falling": (LARGE, "falling")}

_FIXED = (
    f"Full-batch gradient descent on {TASKS} fixed tasks, smooth body, one outer step size and the same weights for "
    "all N."
)
_L = f"L that of a linear head on the same features with lambda = {L2:g}."

TEXT = """\
- **P6.** A meta-step takes a + b N seconds. The features are computed once, so b is small beside a.
- **P7.** Nonconvex: *slower with N* needs a large alpha. At a small fixed alpha it may not appear, at a large one runs
  diverge or stay near chance, at alpha = c/N it goes away. The small one is safe for a linear head on these tasks."""


def cells(scale: Scale, data: Data) -> list[Cell]:
    """P6: the meta-step of a linear head, timed alone, and P7: descents, at N = 1 with either rule at once."""
    if scale.name == "smoke":
        return []
    descents = [
        _descent(scale, data, seed, steps, schedule, step)
        for seed in scale.seeds
        for step, schedule in _RULES.values()
        for steps in INNER_STEPS
        if not (steps == 1 and schedule == "falling")
    ]
    return [_timing(scale, data, seed, n) for seed in scale.seeds for n in TIMED] + descents


def _timing(scale: Scale, data: Data, seed: int, steps: int) -> Cell:
    settings: dict[str, Scalar] = {
        "inner_l2": L2,
        "meta_batch_size": TASKS,
        "outer_step_size": OUTER_STEP_SIZE,
        "adapted_layers": 1,
        "inner_step_size": 0.1,  # time does not depend on it
        "differentiation": "explicit",
        "optimizer": "sgd",
        "normalization": "episode",
        "repeats": scale.timing_steps,
        "inner_steps": steps,
    }
    made = cell(TIMING, scale, data, seed, **settings).settings
    return Cell(TIMING, {k: v for k, v in made.items() if k != "head"}, alone=True)


def _descent(scale: Scale, data: Data, seed: int, steps: int, schedule: str, step: float) -> Cell:
    settings: dict[str, Scalar] = {
        "prediction": "P7",
        "head": "two_layer",
        "inner_l2": 0.0,
        "meta_batch_size": TASKS,
        "inner_steps": steps,
        "schedule": schedule,
        "step": step,
        "reference_l2": L2,
        "outer_step_size": OUTER_STEP_SIZE,
        "meta_steps": META_STEPS,
        "checkpoints": 12,
    }
    return cell("meta_steps.run", scale, data, seed, **settings)


# ---- P6 --------------------------------------------------------------------------------------------------------------


def _timings(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """N, [points], and seconds of a meta-step, [seeds, points]."""
    rows = results.rows_of(frame, TIMING)
    return statistics.by_seed(rows, "inner_steps", "seconds_per_meta_step")


def line_of_time(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The a and b of seconds = a + b N, by least squares on the timings of each seed, [seeds] each."""
    n, seconds = _timings(frame)
    if len(n) < 2 or not np.isfinite(seconds).all():
        return np.zeros(0), np.zeros(0)
    b, a = np.polyfit(n.astype(float), seconds.T, 1)
    return a, b


def cheap_steps(frame: pd.DataFrame) -> Measured | None:
    """What an inner step takes over all that does not depend on N."""
    a, b = line_of_time(frame)
    if not len(a):
        return None
    return with_width(statistics.mean(b / a)) if (a > 0).all() else Measured(UNKNOWN)


# ---- P7 --------------------------------------------------------------------------------------------------------------


def endings(frame: pd.DataFrame, rule: str) -> tuple[np.ndarray, np.ndarray]:
    """N, [points], and ln(loss at the last meta-step), [seeds, points], chance at most; by "small", "large", ..."""
    step, schedule = _RULES[rule]
    rows = rows_of(frame, "P7", record="curve", step=step)
    if rows.empty:
        return np.zeros(0), np.zeros([0, 0])
    rows = rows[(rows["schedule"] == schedule) | (rows["inner_steps"] == 1)]
    last = rows[rows["meta_step"] == rows["meta_step"].max()]
    chance = np.log(last["ways"].astype(float))
    shown = last.assign(loss=np.log(np.fmin(last["loss"].astype(float), chance)))
    return statistics.by_seed(shown, "inner_steps", "loss")


def _slopes(frame: pd.DataFrame, rule: str) -> np.ndarray | None:
    steps, loss = endings(frame, rule)
    return statistics.slopes(np.log2(steps.astype(float)), loss) if len(steps) > 1 else None


def harm(frame: pd.DataFrame, rule: str) -> Measured | None:
    """Ln of the loss at the end per doubling of N."""
    slopes = _slopes(frame, rule)
    return None if slopes is None else with_width(statistics.mean(slopes))


def relief(frame: pd.DataFrame) -> Measured | None:
    """The harm at the large fixed alpha minus that at the same alpha over N."""
    fixed, falling = _slopes(frame, "large"), _slopes(frame, "falling")
    if fixed is None or falling is None:
        return None
    return with_width(statistics.paired(fixed, falling))


_SLOPE = (
    f"{_FIXED} Slope of ln(loss after {META_STEPS} meta-steps) against log2 N on each seed, a loss above chance or not "
    f"finite counting as chance; {_L} {NO_WIDTH}"
)
CLAIMS = [
    Claim(
        key="P6",
        text=f"P6: features are kept while the head adapts: an inner step costs less than {100 * CHEAP:g} % of the "
        "rest.",
        said_by=DERIVATION,
        statistic=cheap_steps,
        words="A meta-step takes a + b N seconds: b/a, a and b by least squares on each seed from meta-steps of a "
        f"linear head with N = {', '.join(map(str, TIMED))}, timed alone. Inconclusive where a is not above 0 on some "
        f"seed. {NO_WIDTH}",
        test=Below(CHEAP),
        number="b / a",
    ),
    Claim(
        key="P7 small",
        text=f"P7: with a nonconvex head and a small fixed alpha, {SMALL:g}/L, a larger N does no harm.",
        said_by=DERIVATION,
        statistic=lambda frame: harm(frame, "small"),
        words=_SLOPE,
        test=Below(HARMLESS),
        number="ln loss per doubling of N",
    ),
    Claim(
        key="P7 large",
        text=f"P7: at a large fixed alpha, {LARGE:g}/L, a larger N is slower: runs diverge or end near chance.",
        said_by=DERIVATION,
        statistic=lambda frame: harm(frame, "large"),
        words=_SLOPE,
        test=Above(0.0),
        number="ln loss per doubling of N",
    ),
    Claim(
        key="P7 falling",
        text=f"P7: alpha = {LARGE:g}/(L N) takes the harm away.",
        said_by=DERIVATION,
        statistic=relief,
        words="The slope at the large fixed alpha minus that at the same alpha over N, seed by seed. A slope: "
        f"{_SLOPE}",
        test=Above(0.0),
        number="ln loss per doubling of N, fixed minus falling",
    ),
]


# ---- Pictures and tables ---------------------------------------------------------------------------------------------


def _time_panels(frame: pd.DataFrame) -> list[Panel]:
    a, b = line_of_time(frame)
    if not len(a):
        return []
    n, seconds = _timings(frame)
    start, step = a.mean(), b.mean()
    return [
        Panel(
            [
                figures.points("timed", n, [statistics.mean(column) for column in seconds.T]),
                Series(f"{start:.3g} + {step:.2g} N", n, start + step * n, kind="fit"),
            ],
            x_label="inner steps N",
            y_label="seconds of a meta-step",
            title="a + b N",
            y_limits=(0.0, None),
        )
    ]


def _harm_panels(frame: pd.DataFrame) -> list[Panel]:
    series = []
    for rule, label in _LABELS.items():
        steps, loss = endings(frame, rule)
        if not len(steps):
            return []
        intervals = [statistics.mean(column) for column in np.exp(loss).T]
        series.append(figures.points(label, steps, intervals))
    rows = rows_of(frame, "P7", record="curve")
    return [
        Panel(
            series,
            x_label="inner steps N",
            y_label=f"meta-loss after {int(rows['meta_step'].max())} meta-steps (nats)",
            title="two-layer head",
            log_x=True,
            ticks=list(INNER_STEPS),
            lines={"chance": math.log(float(rows["ways"].iloc[0]))},
        )
    ]


_LABELS = {
    "small": f"alpha = {SMALL:g}/L",
    "large": f"alpha = {LARGE:g}/L",
    "falling": f"alpha = {LARGE:g}/(L N)",
}


def time_table(frame: pd.DataFrame) -> Table | None:
    """A and b of each seed."""
    a, b = line_of_time(frame)
    if not len(a):
        return None
    seeds = sorted(results.rows_of(frame, TIMING)["seed"].unique())
    columns = {"seed": seeds, "a (ms)": 1000 * a, "b (ms)": 1000 * b, "b / a": b / a}
    note = "A meta-step of a linear head takes a + b N."
    return Table("P6: the time of a meta-step", pd.DataFrame(columns), note)


def harm_table(frame: pd.DataFrame) -> Table | None:
    """The loss at the end, for each rule and N."""
    lines = []
    for rule, label in _LABELS.items():
        steps, loss = endings(frame, rule)
        by_steps = zip(steps, np.exp(loss).T, strict=True)
        lines.append({"alpha": label} | {f"N = {n:g}": statistics.mean(one) for n, one in by_steps})
    note = f"Meta-loss (nats) after the last meta-step; above chance or not finite counts as chance. {_L}"
    return (
        Table("P7: where a two-layer head ends", pd.DataFrame(lines), note)
        if lines[0].keys() - {"alpha"}
        else None
    )


PICTURES = [
    Picture(
        "P6.png",
        "P6: an inner step costs next to no time",
        "Seconds of a meta-step of a linear head, timed alone, against N, with 95 % intervals over seeds.",
        _time_panels,
    ),
    Picture(
        "P7.png",
        "P7: harm needs a large step",
        "Meta-loss of fixed tasks after the last meta-step against N, two-layer tanh head on a smooth body; above "
        f"chance or not finite is drawn at chance. {_L} 95 % intervals over seeds.",
        _harm_panels,
    ),
]
TABLES = [time_table, harm_table]
