"""P5, P6, P7 and P9: meta-steps, work and time against the length of the inner loop."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from anil_tf.study import results, statistics
from anil_tf.study.cell import Cell, Scalar
from anil_tf.study.claims import INCONCLUSIVE, Rule, Table
from anil_tf.study.experiment import Data
from anil_tf.study.experiments import anil_vs_maml, sweeps
from anil_tf.study.predictions.prediction import UNKNOWN, Found, Prediction, cell, of, seeds
from anil_tf.study.scale import Scale
from anil_tf.study.statistics import Interval

if TYPE_CHECKING:
    import pandas as pd

    from anil_tf.study.figures import Panel

INNER_STEPS = {"P5": (1, 3, 10, 30), "P7": (1, 5, 20)}
META_STEPS = {"P5": 60, "P7": 30}
TASKS = {"P5": 16, "P7": 8}
SMALL, LARGE = 0.5, 8.0  # alpha L: on the safe side of 2, and far beyond it
OUTER_STEP_SIZE = 0.3
HARMLESS = 0.01  # of ln loss for each doubling of N
HALF_A_DOUBLING = 0.5
TOLERANCE = 1.5  # a FLOP model that is off by less is a good one

_FIXED = "Full-batch gradient descent on fixed tasks, smooth body, one outer step size and the same weights for all N"
RULES = {
    "P5 steps": Rule(
        "P5: in the strongly convex geometry the meta-steps to a loss, K, fall with N, and then saturate.",
        f"{_FIXED}; the loss is the lowest share of chance that all runs reach and none starts at. Slope of ln K "
        "against ln N over all N, and its difference between the first two N and the last two, on each seed; Student's "
        "95 % intervals. Supported if both lie below 0 with the whole interval, not supported if one lies above 0, "
        "else inconclusive. The number shown is the slope.",
        "exponent of K in N",
    ),
    "P5 work": Rule(
        "P5: the work N K has a minimum at some N between the smallest and the largest.",
        "N K of the end that comes closer over that of the interior N that is best on the other seeds; geometric mean, "
        "95 % interval. Supported if both ends cost more with their whole intervals, not supported if one costs less "
        "than the best interior N with its whole interval, else inconclusive.",
        "work at the better end / work at the best interior N",
    ),
    "P6": Rule(
        "P6: since the body's features are kept while the head adapts, a meta-step takes a + b N seconds with b << a, "
        "and the N that is best in time lies to the right of the one that is best in work.",
        "log2 of the N with the least K (a + b N) over the N with the least K N, on each seed, K as in P5, a and b by "
        "least squares from meta-steps of the same learner timed alone; Student's 95 % interval over seeds. Supported "
        f"if the whole interval lies above 0, not supported if it lies below {HALF_A_DOUBLING:g} (half a doubling), "
        "else inconclusive.",
        "doublings of N between best in work and best in time",
    ),
    "P7 small": Rule(
        f"P7: with a nonconvex head and a small fixed alpha, {SMALL:g}/L, a larger N does no harm.",
        f"{_FIXED}. Slope of ln(loss at the last meta-step) against log2 N on each seed, a loss above chance or not "
        f"finite counting as chance; Student's 95 % interval. Supported if the whole interval lies below {HARMLESS:g}, "
        "not supported if above, else inconclusive.",
        "ln loss per doubling of N",
    ),
    "P7 large": Rule(
        f"P7: at a large fixed alpha, {LARGE:g}/L, a larger N is slower: runs diverge or end near chance.",
        "The same slope. Supported if the whole interval lies above 0, not supported if below, else inconclusive.",
        "ln loss per doubling of N",
    ),
    "P7 falling": Rule(
        f"P7: alpha = {LARGE:g}/(L N) takes the harm away.",
        "The slope at the large fixed alpha minus that at the same alpha over N, seed by seed; Student's 95 % "
        "interval. Supported if the whole interval lies above 0, not supported if below, else inconclusive.",
        "ln loss per doubling of N, fixed minus falling",
    ),
    "P9": Rule(
        "P9: an iteration of MAML takes (9N + 3)/6 times as long as one of ANIL, where the body's work dominates and "
        "there are as many queries as support images (derived).",
        "Ratio of the seconds of a meta-step, timed in turns, over that of the model, at each N; conv4 at the scale's "
        f"width. Supported if every 95 % interval over seeds lies within 1/{TOLERANCE:g} to {TOLERANCE:g}, not "
        "supported if one lies wholly outside, else inconclusive. The number shown is the worst.",
        "measured / model, where it is worst",
    ),
}


# ---- Cells -----------------------------------------------------------------------------------------------------------


def strongly_convex_cells(scale: Scale, data: Data) -> list[Cell]:
    """P5: a descent for each seed and N."""
    head: dict[str, Scalar] = {"head": "linear", "inner_l2": 0.05}
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
        "meta_batch_size": 2 if smoke else TASKS[name],
        "inner_steps": steps,
        "schedule": schedule,
        "step": step,
        "outer_step_size": OUTER_STEP_SIZE,
        "meta_steps": 3 if smoke else META_STEPS[name],
        "checkpoints": 2 if smoke else 8,
    }
    return cell("work:run", scale, data, seed, **(head | changes))


def timing_cells(scale: Scale, data: Data) -> list[Cell]:
    """P6: the meta-step of P5's learner, alone, for the least and the largest N and one between; on the first seed."""
    if scale.name == "smoke":
        return []
    of_descent = strongly_convex_cells(scale, data)[0].settings
    shared = ("dataset", "data_dir", "body", "filters", "ways", "shots", "queries", "inner_l2")
    settings: dict[str, Scalar] = {
        **{name: of_descent[name] for name in (*shared, "meta_batch_size", "seed")},
        "adapted_layers": 1,
        "inner_step_size": 0.1,  # time does not depend on it
        "differentiation": "explicit",
        "optimizer": "sgd",
        "outer_step_size": OUTER_STEP_SIZE,
        "normalization": "episode",
        "repeats": scale.timing_steps,
    }
    return [
        Cell("anil_tf.study.timing:run", settings | {"inner_steps": steps}, alone=True)
        for steps in (1, 10, 30)
    ]


def cost_cells(scale: Scale, data: Data) -> list[Cell]:
    """P9: the very cells of `anil_vs_maml`, which are then run once for both."""
    return [one for one in anil_vs_maml.cells(scale, data) if one.kind == anil_vs_maml.COST]


# ---- P5 and P6 -------------------------------------------------------------------------------------------------------


def meta_steps(frame: pd.DataFrame) -> tuple[float, np.ndarray, np.ndarray]:
    """K: the meta-steps to the lowest share of chance that all runs of P5 reach and none starts at.

    Returns:
        The share (nan if there is none), N [points], and K [seeds, points].
    """
    rows = of(frame, "P5", record="reach")
    for share in sorted(rows["share"].unique()) if len(rows) else []:
        at = rows[rows["share"] == share]
        if "meta_step" in at and (at["meta_step"].astype(float) > 0).all():
            return float(share), *statistics.by_seed(at, "inner_steps", "meta_step")
    return math.nan, np.zeros(0), np.zeros([0, 0])


def reaching(frame: pd.DataFrame) -> dict[str, Found]:
    """P5."""
    _, steps, found = meta_steps(frame)
    if len(steps) < 3 or not np.isfinite(found).all():
        return {key: (UNKNOWN, INCONCLUSIVE) for key in ("P5 steps", "P5 work")}
    n, k = np.log(steps.astype(float)), np.log(found)
    slope = statistics.trend(n, k)
    first, last = (k[:, i + 1] - k[:, i] for i in (0, -2))
    bend = statistics.paired(first / (n[1] - n[0]), last / (n[-1] - n[-2]))
    falls = statistics.all_of([statistics.decide(one, "below") for one in (slope, bend)])
    work = sweeps.interior_against_ends(found * steps, np.ones_like(found, bool))
    return {"P5 steps": (slope, falls), "P5 work": work}


def seconds(frame: pd.DataFrame) -> tuple[float, float]:
    """The a and b of seconds = a + b N, by least squares on the timings; nan with fewer than two."""
    rows = results.rows_of(frame, sweeps.TIMING)
    if rows.empty or rows["inner_steps"].nunique() < 2:
        return math.nan, math.nan
    b, a = np.polyfit(rows["inner_steps"].astype(float), rows["seconds_per_meta_step"], 1)
    return float(a), float(b)


def best_in_time(frame: pd.DataFrame) -> dict[str, Found]:
    """P6."""
    _, steps, found = meta_steps(frame)
    a, b = seconds(frame)
    if not len(steps) or not np.isfinite([a, b]).all():
        return {"P6": (UNKNOWN, INCONCLUSIVE)}
    in_time, in_work = (
        np.log2(steps[(found * cost).argmin(axis=1)]) for cost in (a + b * steps, steps)
    )
    moved = statistics.paired(in_time, in_work)
    return {"P6": (moved, statistics.decide(moved, "above", indifference=HALF_A_DOUBLING))}


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
        "P7 small": (small, statistics.decide(small, "below", than=HARMLESS)),
        "P7 large": (large, statistics.decide(large, "above")),
        "P7 falling": (relief, statistics.decide(relief, "above")),
    }


# ---- P9 --------------------------------------------------------------------------------------------------------------


def cost_ratio(frame: pd.DataFrame) -> dict[str, Found]:
    """P9."""
    intervals = [ratio.map(lambda x, m=model: x / m) for _, ratio, model in ratios(frame)]
    if not intervals:
        return {"P9": (UNKNOWN, INCONCLUSIVE)}
    logs = [one.map(lambda x: math.log(x) if x > 0 else -math.inf) for one in intervals]
    verdicts = [statistics.decide_equal(one, to=0.0, tolerance=math.log(TOLERANCE)) for one in logs]
    worst = max(range(len(logs)), key=lambda i: abs(logs[i].center))
    return {"P9": (intervals[worst], statistics.all_of(verdicts))}


def ratios(frame: pd.DataFrame) -> list[tuple[int, Interval, float]]:
    """N, MAML / ANIL in seconds of a meta-step, and the model's; where both were timed."""
    rows = anil_vs_maml.costs(frame)
    if rows.empty:
        return []
    return [
        (
            int(steps),
            anil_vs_maml.ratio(rows, "seconds_per_meta_step", int(steps)),
            anil_vs_maml.model_ratio(rows, int(steps)),
        )
        for steps in sorted(rows["inner_steps"].unique())
    ]


# ---- Pictures --------------------------------------------------------------------------------------------------------


def reaching_panels(frame: pd.DataFrame) -> list[Panel]:
    """The curves, K and N K."""
    from anil_tf.study import figures

    share, steps, found = meta_steps(frame)
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
        _points(steps, values, label, style)
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


def time_panels(frame: pd.DataFrame) -> list[Panel]:
    """Seconds of a meta-step against N, and K (a + b N) beside K N."""
    from anil_tf.study import figures

    _, steps, found = meta_steps(frame)
    a, b = seconds(frame)
    if math.isnan(a):
        return []
    timed = results.rows_of(frame, sweeps.TIMING).sort_values("inner_steps")
    n = timed["inner_steps"].to_numpy(float)
    panels = [
        figures.Panel(
            [
                figures.Series("timed", n, timed["seconds_per_meta_step"], kind="points"),
                figures.Series(f"{a:.3g} + {b:.2g} N", n, a + b * n, kind="fit"),
            ],
            x_label="inner steps N",
            y_label="seconds of a meta-step",
            title="a + b N",
            y_limits=(0.0, None),
        )
    ]
    if len(steps):
        series = []
        for style, (cost, label) in enumerate(
            ((a + b * steps, "time K (a + b N)"), (1.0 * steps, "work K N"))
        ):
            relative = found * cost
            relative = relative / relative.min(axis=1, keepdims=True)
            series.append(_points(steps, relative, label, style))
        panels.append(
            figures.Panel(
                series,
                x_label="inner steps N",
                y_label="cost / least cost",
                title="where is the best N?",
                log_x=True,
                log_y=True,
                ticks=list(steps),
            )
        )
    return panels


def _points(steps, values: np.ndarray, label: str, style: int):
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
        series.append(_points(steps, np.exp(loss), label, style))
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


def cost_panels(frame: pd.DataFrame) -> list[Panel]:
    """MAML / ANIL against N, beside the model."""
    from anil_tf.study import figures

    found = ratios(frame)
    if not found:
        return []
    steps = [n for n, _, _ in found]
    measured = figures.Series(
        "measured",
        steps,
        [one.center for _, one, _ in found],
        [one.low for _, one, _ in found],
        [one.high for _, one, _ in found],
        "points",
    )
    model = figures.bound(steps, [value for _, _, value in found], "derived FLOP model")
    return [
        figures.Panel(
            [measured, model],
            x_label="inner steps N",
            y_label="MAML / ANIL, seconds of a meta-step",
            title="what leaving the body out saves",
            ticks=steps,
            y_limits=(0.0, None),
        )
    ]


# ---- Tables ----------------------------------------------------------------------------------------------------------


def reaching_table(frame: pd.DataFrame) -> Table | None:
    """K, N K, and with timings K (a + b N)."""
    import pandas as pd

    share, steps, found = meta_steps(frame)
    if not len(steps):
        return None
    a, b = seconds(frame)
    lines = [
        {
            "N": int(n),
            "K": statistics.mean(k),
            "N K": statistics.mean(n * k),
            "time (s)": statistics.mean(k * (a + b * n)),
        }
        for n, k in zip(steps, found.T, strict=True)
    ]
    timed = "" if math.isnan(a) else f" Time: K (a + b N), a = {a:.3g} s, b = {b:.2g} s."
    note = f"K: meta-steps to {share:g} of the loss of chance.{timed}"
    return Table("P5 and P6: meta-steps, work and time", pd.DataFrame(lines), note)


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
    note = "Meta-loss (nats) after the last meta-step; above chance or not finite counts as chance."
    return Table("P7: where a two-layer head ends", pd.DataFrame(lines), note)


def cost_table(frame: pd.DataFrame) -> Table | None:
    """Measured and modelled ratio."""
    import pandas as pd

    lines = [
        {"N": steps, "MAML / ANIL": ratio, "model": model} for steps, ratio, model in ratios(frame)
    ]
    if not lines:
        return None
    return Table("P9: MAML over ANIL, seconds of a meta-step", pd.DataFrame(lines), "")


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
P6 = Prediction(
    "P6",
    "P6: the best N in time",
    "T(N) = K(N) (a + b N). The features are computed once, so b is small beside a, and the best N in time lies to the "
    "right of the best N in work.",
    "Left: seconds of a meta-step of P5's learner, timed alone. Right: time and work to the loss of P5, relative to "
    "the best N on each seed, with 95 % intervals.",
    {"P6": RULES["P6"]},
    timing_cells,
    best_in_time,
    time_panels,
    lambda frame: None,
)
P7 = Prediction(
    "P7",
    "P7: harm needs a large step",
    "Nonconvex: *slower with N* needs a large alpha. At a small fixed alpha it may not appear, at a large one runs "
    "diverge or stay near chance, at alpha = c/N it goes away. Small is P5's own alpha: the same in both geometries.",
    "Meta-loss of fixed tasks after the last meta-step against N, two-layer tanh head on a smooth body; above chance "
    "or not finite is drawn at chance. 95 % intervals over seeds.",
    {key: RULES[key] for key in ("P7 small", "P7 large", "P7 falling")},
    nonconvex_cells,
    harm,
    harm_panels,
    harm_table,
)
P9 = Prediction(
    "P9",
    "P9: MAML over ANIL",
    "An iteration of MAML takes (9N + 3)/6 times as long as one of ANIL where the body's work dominates. Both timed in "
    "turns on conv4; the cells are those of `anil_vs_maml`.",
    "Seconds of a meta-step, MAML over ANIL, against N; 95 % intervals over seeds.",
    {"P9": RULES["P9"]},
    cost_cells,
    cost_ratio,
    cost_panels,
    cost_table,
)
