"""P5 and P7: meta-steps to a loss, work, and where a descent ends, against the length of the inner loop."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from anil_tf.study import statistics
from anil_tf.study.cell import Cell, Scalar
from anil_tf.study.claims import INCONCLUSIVE, Rule, Table, Verdict
from anil_tf.study.experiment import Data
from anil_tf.study.experiments import sweeps
from anil_tf.study.predictions.prediction import UNKNOWN, Found, Prediction, cell, of, seeds
from anil_tf.study.scale import Scale
from anil_tf.study.statistics import Interval

if TYPE_CHECKING:
    import pandas as pd

    from anil_tf.study.figures import Panel

INNER_STEPS = {"P5": (1, 3, 10, 30), "P7": (1, 5, 20)}
META_STEPS = {"P5": 300, "P7": 30}
# Both descend on the same tasks with the same alpha, that of P5's inner loss: a reviewer of the paper asked for it.
TASKS = 8
L2 = 0.05
SMALL, LARGE = 0.5, 8.0  # alpha L: on the safe side of 2, and far beyond it
OUTER_STEP_SIZE = 0.3
HARMLESS = 0.01  # of ln loss for each doubling of N

_FIXED = (
    f"Full-batch gradient descent on {TASKS} fixed tasks, smooth body, one outer step size and the same weights for "
    "all N"
)
_L = f"L that of a linear head on the same features with lambda = {L2:g}, for every head"
NO_WIDTH = "Inconclusive too if several seeds all show the very same number: such an interval has no width."
RULES = {
    "P5 steps": Rule(
        "P5: in the strongly convex geometry the meta-steps to a loss, K, fall with N, and then saturate.",
        f"{_FIXED}, {META_STEPS['P5']} meta-steps; alpha = {SMALL:g}/L, {_L}. The loss is the smallest of 0.98, 0.96, "
        "0.94, ... 0.02 of chance, ln(ways), that all N reach on all seeds and none starts at. Slope of ln K against "
        "ln N over all N, and its difference between the first two N and the last two, on each seed; Student's 95 % "
        "intervals. Supported if both lie below 0 with the whole interval, not supported if one lies above 0, else "
        f"inconclusive, as without such a loss. The number shown is the slope. {NO_WIDTH}",
        "exponent of K in N",
    ),
    "P5 work": Rule(
        "P5: the work N K has a minimum at some N between the smallest and the largest.",
        "The interior N is chosen for each seed by the mean ln(N K) of the other seeds; N K of either end over that "
        "of it, geometric mean, Student's 95 % interval; K as above. Supported if both ends cost more with their whole "
        "intervals, not supported if one costs less, with its whole interval, than even the interior N that is best "
        "on the very seed, else inconclusive. The number shown is the ratio of the end that refutes, or else of the "
        f"one that comes closer. {NO_WIDTH}",
        "work at the better end / work at the best interior N",
    ),
    "P7 small": Rule(
        f"P7: with a nonconvex head and a small fixed alpha, {SMALL:g}/L, a larger N does no harm ({_L}).",
        f"{_FIXED}. Slope of ln(loss after {META_STEPS['P7']} meta-steps) against log2 N on each seed, a loss above "
        "chance or not finite counting as chance; Student's 95 % interval. Supported if the whole interval lies below "
        f"{HARMLESS:g}, not supported if above, else inconclusive. {NO_WIDTH}",
        "ln loss per doubling of N",
    ),
    "P7 large": Rule(
        f"P7: at a large fixed alpha, {LARGE:g}/L, a larger N is slower: runs diverge or end near chance (the same L).",
        "The same slope. Supported if the whole interval lies above 0, not supported if below, else inconclusive. "
        + NO_WIDTH,
        "ln loss per doubling of N",
    ),
    "P7 falling": Rule(
        f"P7: alpha = {LARGE:g}/(L N) takes the harm away (the same L).",
        "The slope at the large fixed alpha minus that at the same alpha over N, seed by seed; Student's 95 % "
        "interval. Supported if the whole interval lies above 0, not supported if below, else inconclusive. "
        + NO_WIDTH,
        "ln loss per doubling of N, fixed minus falling",
    ),
}


# ---- Cells -----------------------------------------------------------------------------------------------------------


def strongly_convex_cells(scale: Scale, data: Data) -> list[Cell]:
    """P5: a descent for each seed and N."""
    head: dict[str, Scalar] = {"head": "linear", "inner_l2": L2}
    return [
        _descent("P5", scale, data, seed, steps, "fixed", SMALL, head)
        for seed in seeds(scale)
        for steps in _inner_steps("P5", scale)
    ]


def nonconvex_cells(scale: Scale, data: Data) -> list[Cell]:
    """P7: a descent for each seed, N and rule for alpha; at N = 1 the large alpha is fixed and falling at once."""
    if scale.name == "smoke":
        return []
    head: dict[str, Scalar] = {"head": "two_layer", "inner_l2": 0.0}
    rules = ((SMALL, "fixed"), (LARGE, "fixed"), (LARGE, "falling"))
    return [
        _descent("P7", scale, data, seed, steps, schedule, step, head)
        for seed in scale.seeds
        for step, schedule in rules
        for steps in _inner_steps("P7", scale)
        if not (steps == 1 and schedule == "falling")
    ]


def _inner_steps(name: str, scale: Scale) -> tuple[int, ...]:
    return INNER_STEPS[name][::2] if scale.name == "smoke" else INNER_STEPS[name]


def _descent(
    name: str,
    scale: Scale,
    data: Data,
    seed: int,
    steps: int,
    schedule: str,
    step: float,
    head: dict[str, Scalar],
) -> Cell:
    smoke = scale.name == "smoke"
    changes: dict[str, Scalar] = {
        "prediction": name,
        "meta_batch_size": 2 if smoke else TASKS,
        "inner_steps": steps,
        "schedule": schedule,
        "step": step,
        "reference_l2": L2,
        "outer_step_size": OUTER_STEP_SIZE,
        "meta_steps": 3 if smoke else META_STEPS[name],
        "checkpoints": 2 if smoke else 12,
    }
    return cell("meta_steps.run", scale, data, seed, **(head | changes))


# ---- P5 --------------------------------------------------------------------------------------------------------------


def to_a_loss(frame: pd.DataFrame) -> tuple[float, np.ndarray, np.ndarray]:
    """K: the meta-steps to the smallest share of chance that all runs of P5 reach and none starts at.

    Returns:
        The share (nan if there is none), N [points], and K [seeds, points].
    """
    rows = of(frame, "P5", record="reach")
    for share in sorted(rows["share"].unique()) if len(rows) else []:
        at = rows[rows["share"] == share]
        if "meta_step" in at and (at["meta_step"].astype(float) > 0).all():
            return float(share), *statistics.by_seed(at, "inner_steps", "meta_step")
    return math.nan, np.zeros(0), np.zeros([0, 0])


def with_width(interval: Interval, verdict: Verdict) -> tuple[Interval, Verdict]:
    """Leaves inconclusive what rests on an interval without width over several seeds: see `NO_WIDTH`."""
    # Least squares leave rounding.
    has_none = math.isclose(interval.low, interval.high, rel_tol=1e-9, abs_tol=1e-12)
    return interval, INCONCLUSIVE if has_none and interval.count > 1 else verdict


def reaching(frame: pd.DataFrame) -> dict[str, Found]:
    """P5."""
    _, steps, found = to_a_loss(frame)
    if len(steps) < 3 or not np.isfinite(found).all():
        return {key: (UNKNOWN, INCONCLUSIVE) for key in ("P5 steps", "P5 work")}
    n, k = np.log(steps.astype(float)), np.log(found)
    slope = statistics.trend(n, k)
    first, last = (k[:, i + 1] - k[:, i] for i in (0, -2))
    bend = statistics.paired(first / (n[1] - n[0]), last / (n[-1] - n[-2]))
    falls, saturates = (
        with_width(one, statistics.decide(one, "below"))[1] for one in (slope, bend)
    )
    work = sweeps.interior_against_ends(found * steps, np.ones_like(found, bool))
    return {
        "P5 steps": (slope, statistics.all_of([falls, saturates])),
        "P5 work": with_width(*work),
    }


# ---- P7 --------------------------------------------------------------------------------------------------------------


def endings(frame: pd.DataFrame, step: float, schedule: str) -> tuple[np.ndarray, np.ndarray]:
    """N, [points], and ln(loss at the last meta-step), [seeds, points]; chance at most."""
    rows = of(frame, "P7", record="curve", step=step)
    if rows.empty:
        return np.zeros(0), np.zeros([0, 0])
    rows = rows[(rows["schedule"] == schedule) | (rows["inner_steps"] == 1)]
    last = rows[rows["meta_step"] == rows["meta_step"].max()]
    loss = last["loss"].astype(float)
    chance = np.log(last["ways"].astype(float))
    shown = last.assign(loss=np.log(np.fmin(loss, chance)))
    return statistics.by_seed(shown, "inner_steps", "loss")


def harm(frame: pd.DataFrame) -> dict[str, Found]:
    """P7."""
    cases = {"small": (SMALL, "fixed"), "large": (LARGE, "fixed"), "falling": (LARGE, "falling")}
    slopes = {}
    for name, case in cases.items():
        steps, loss = endings(frame, *case)
        if len(steps) < 2:
            return {f"P7 {name}": (UNKNOWN, INCONCLUSIVE) for name in cases}
        slopes[name] = statistics.slopes(np.log2(steps.astype(float)), loss)
    small, large = statistics.mean(slopes["small"]), statistics.mean(slopes["large"])
    relief = statistics.paired(slopes["large"], slopes["falling"])
    return {
        "P7 small": with_width(small, statistics.decide(small, "below", than=HARMLESS)),
        "P7 large": with_width(large, statistics.decide(large, "above")),
        "P7 falling": with_width(relief, statistics.decide(relief, "above")),
    }


# ---- Pictures --------------------------------------------------------------------------------------------------------


def reaching_panels(frame: pd.DataFrame) -> list[Panel]:
    """The curves, K and N K."""
    from anil_tf.study import figures

    share, steps, found = to_a_loss(frame)
    curves = of(frame, "P5", record="curve")
    if curves.empty:
        return []
    lines = figures.curves(curves, x="meta_step", y="loss", by="inner_steps", label="N = {}")
    chance = math.log(float(curves["ways"].iloc[0]))
    panels = [
        figures.Panel(
            lines,
            x_label="meta-steps",
            y_label="meta-loss (nats)",
            title="full-batch descent",
            lines={} if math.isnan(share) else {"the loss to reach": share * chance},
        )
    ]
    if len(steps) < 2:
        return panels
    series = [
        points(steps, values, label, style)
        for style, (values, label) in enumerate(((found, "K"), (found * steps, "work N K")))
    ]
    panels.append(
        figures.Panel(
            series,
            x_label="inner steps N",
            y_label="meta-steps K; work N K",
            title=f"to {share:g} of chance",
            log_x=True,
            log_y=True,
            ticks=list(steps),
        )
    )
    return panels


def points(steps, values: np.ndarray, label: str, style: int):
    """A number against N, the mean of the seeds with its interval.

    Args:
        steps: N, [points].
        values: [seeds, points], positive.
        label: for the legend.
        style: its place among the series.
    """
    from anil_tf.study import figures

    found = [statistics.mean(column) for column in values.T]
    low, high = np.array([one.low for one in found]), np.array([one.high for one in found])
    center = np.array([one.center for one in found])
    # On a logarithmic axis an interval must not reach 0.
    return figures.Series(
        label, steps, center, np.maximum(low, 0.3 * center), high, "points", style
    )


def harm_panels(frame: pd.DataFrame) -> list[Panel]:
    """The loss at the end against N for the three rules."""
    from anil_tf.study import figures

    cases = {
        f"alpha = {SMALL:g}/L": (SMALL, "fixed"),
        f"alpha = {LARGE:g}/L": (LARGE, "fixed"),
        f"alpha = {LARGE:g}/(L N)": (LARGE, "falling"),
    }
    series, ticks = [], []
    for style, (label, case) in enumerate(cases.items()):
        steps, loss = endings(frame, *case)
        if not len(steps):
            return []
        ticks = list(steps)
        series.append(points(steps, np.exp(loss), label, style))
    rows = of(frame, "P7", record="curve")
    chance = math.log(float(rows["ways"].iloc[0]))
    return [
        figures.Panel(
            series,
            x_label="inner steps N",
            y_label=f"meta-loss after {int(rows['meta_step'].max())} meta-steps (nats)",
            title="two-layer head",
            log_x=True,
            ticks=ticks,
            lines={"chance": chance},
        )
    ]


# ---- Tables ----------------------------------------------------------------------------------------------------------


def reaching_table(frame: pd.DataFrame) -> Table | None:
    """K and N K, with q^N beside them."""
    import pandas as pd

    share, steps, found = to_a_loss(frame)
    if not len(steps):
        return None
    power = of(frame, "P5").groupby("inner_steps")["contraction_power"].max()
    lines = [
        {"N": int(n), "q^N": power[n], "K": statistics.mean(k), "N K": statistics.mean(n * k)}
        for n, k in zip(steps, found.T, strict=True)
    ]
    note = (
        f"K: meta-steps to {share:g} of the loss of chance. Where q^N = (1 - alpha lambda)^N, the largest over seeds, "
        "is near 1, it is the data's own curvature that makes K fall."
    )
    return Table("P5: meta-steps and work", pd.DataFrame(lines), note)


def harm_table(frame: pd.DataFrame) -> Table | None:
    """The loss at the end, for each rule and N."""
    import pandas as pd

    lines = []
    for step, schedule in ((SMALL, "fixed"), (LARGE, "fixed"), (LARGE, "falling")):
        steps, loss = endings(frame, step, schedule)
        line: dict[str, object] = {
            "alpha": f"{step:g}/L" if schedule == "fixed" else f"{step:g}/(L N)"
        }
        line |= {
            f"N = {n:g}": statistics.mean(np.exp(column))
            for n, column in zip(steps, loss.T, strict=True)
        }
        lines.append(line)
    if len(lines[0]) == 1:
        return None
    note = (
        "Meta-loss (nats) after the last meta-step; above chance or not finite counts as chance. "
        f"{_L[0]} is {_L[2:]}."
    )
    return Table("P7: where a two-layer head ends", pd.DataFrame(lines), note)


P5 = Prediction(
    "P5",
    "P5: meta-steps and work, strongly convex",
    "Strongly convex: the meta-steps K to a loss fall with N and then saturate, so that the work N K has a minimum "
    "between. Full-batch gradient descent on fixed tasks; K is exact.",
    "Left: meta-loss of fixed tasks against meta-steps, for each N; bands are the range of the seeds. Right: "
    "meta-steps K to the loss, and the work N K, with 95 % intervals over seeds.",
    {key: RULES[key] for key in ("P5 steps", "P5 work")},
    strongly_convex_cells,
    reaching,
    reaching_panels,
    reaching_table,
)
P7 = Prediction(
    "P7",
    "P7: harm needs a large step",
    "Nonconvex: *slower with N* needs a large alpha. At a small fixed alpha it may not appear, at a large one runs "
    "diverge or stay near chance, at alpha = c/N it goes away. Small is P5's own alpha, on P5's own tasks: the same in "
    "both geometries.",
    "Meta-loss of fixed tasks after the last meta-step against N, two-layer tanh head on a smooth body; above chance "
    f"or not finite is drawn at chance. {_L[0]} is {_L[2:]}. 95 % intervals over seeds.",
    {key: RULES[key] for key in ("P7 small", "P7 large", "P7 falling")},
    nonconvex_cells,
    harm,
    harm_panels,
    harm_table,
)
