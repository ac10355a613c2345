"""P3 and P4: the curvature of the meta-loss against the length of the inner loop, in both geometries."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from anil_tf.study import statistics
from anil_tf.study.cell import Cell, Scalar
from anil_tf.study.claims import INCONCLUSIVE, NOT_SUPPORTED, SUPPORTED, Rule, Table
from anil_tf.study.experiment import Data
from anil_tf.study.predictions.prediction import (
    UNKNOWN,
    Found,
    Prediction,
    cell,
    of,
    ratio_table,
    within,
)
from anil_tf.study.scale import Scale
from anil_tf.study.statistics import Interval

if TYPE_CHECKING:
    import pandas as pd

    from anil_tf.study.figures import Panel

MOST_INNER_STEPS = {"P3": 256, "P4": 32}
STEP = 0.5  # c: alpha L, or alpha L N
VISIBLE = 0.5  # q^N must fall below this for the fading of P3 to be seen
SATURATED = (
    0.1  # of a logarithm: the last quadrupling of N changes the curvature by less than about 10 %
)
RATE = 0.1  # relative: how well the growth of the worst case must agree with 2 ln(1 + alpha L) per step

RULES = {
    "P3 bound": Rule(
        "P3: |d2 L_meta/dw2| is at most Lambda_ww (derived).",
        "The largest ratio of the curvature to Lambda_ww over N = 1, 4, 16, 64, 256 and seeds; L, rho and M are closed "
        "forms of the features, so that the bound holds for sure. Supported if no ratio exceeds 1, not supported if "
        "one does. The interval is the range of the seeds.",
        "largest measured / bound",
    ),
    "P3 head": Rule(
        "P3: the curvature of the meta-loss by the head fades as N grows.",
        "|d2 L_meta/dw2| at the largest N over that at N = 1, on each seed; geometric mean with Student's 95 % "
        "interval of the logarithm. Supported if the whole interval lies below 1, not supported if above, else "
        f"inconclusive, as where q^N stays above {VISIBLE:g} at the largest N.",
        "curvature by the head, largest N / N = 1",
    ),
    "P3 body": Rule(
        "P3: the curvature of the meta-loss by the body grows with N, and then saturates.",
        "ln |d2 L_meta/dphi2| at the largest N minus that at N = 1 (growth), and minus that at a quarter of it "
        "(last quadrupling), on each seed; Student's 95 % intervals. Supported if the whole interval of the growth "
        f"lies above 0 and that of the last quadrupling within +-{SATURATED:g}; not supported if one lies wholly "
        f"outside; else inconclusive, as where q^N stays above {VISIBLE:g}. The number shown is the growth.",
        "growth of ln curvature by the body",
    ),
    "P4 worst case": Rule(
        "P4: where the inner loss curves by -L, the meta-loss's curvature grows as (1 + alpha L)^(2N) at fixed alpha, "
        "and stays bounded at alpha = c/(L N) (derived).",
        "An inner loss cos(w), alpha L = 0.5. ln curvature at the largest N minus that at N = 1, over 2 (N - 1) ln(1 + "
        f"alpha L). No chance is in it: supported if that is 1 up to {RATE:g}, and at c/N the curvature is at most "
        "e^(2c) times that at N = 1, and neither exceeds its bound; else not supported.",
        "measured / predicted rate of growth",
    ),
    "P4 real tasks": Rule(
        "P4: it shows on real tasks: with a two-layer head the curvature grows faster with N at fixed alpha than at "
        "alpha = c/N.",
        "Exponent of |d2 L_meta/dw2| in N, by least squares on logarithms: at alpha = c/L minus at alpha = c/(L N), c "
        "= 0.5, seed by seed; Student's 95 % interval. Supported if the whole interval lies above 0, not supported if "
        "it lies below 0, else inconclusive.",
        "exponent at fixed alpha minus exponent at c/N",
    ),
}


def strongly_convex_cells(scale: Scale, data: Data) -> list[Cell]:
    """P3: the blocks of each seed."""
    if (
        scale.name == "smoke"
    ):  # the constants of the body alone would take longer than all of it may
        return []
    most, runner = MOST_INNER_STEPS["P3"], "meta_smoothness:strongly_convex"
    return [cell(runner, scale, data, seed, most_inner_steps=most) for seed in scale.seeds]


def nonconvex_cells(scale: Scale, data: Data) -> list[Cell]:
    """P4: the cosine, and a two-layer head on each seed."""
    settings: dict[str, Scalar] = {"most_inner_steps": MOST_INNER_STEPS["P4"], "step": STEP}
    worst = Cell("anil_tf.study.measurements.meta_smoothness:worst_case", settings | {"seed": 0})
    if scale.name == "smoke":
        return [worst]
    head: dict[str, Scalar] = {"head": "two_layer", "inner_l2": 0.0}
    return [worst] + [
        cell("meta_smoothness:nonconvex", scale, data, seed, **(settings | head))
        for seed in scale.seeds
    ]


# ---- Verdicts --------------------------------------------------------------------------------------------------------


def blocks(frame: pd.DataFrame) -> dict[str, Found]:
    """P3."""
    head, body = of(frame, "P3", block="ww"), of(frame, "P3", block="phiphi")
    return {"P3 bound": within(head), "P3 head": _fading(head), "P3 body": _saturating(body)}


def _fading(rows: pd.DataFrame) -> Found:
    steps, sizes = _by_steps(rows)
    if len(steps) < 2:
        return UNKNOWN, INCONCLUSIVE
    interval = statistics.ratio(sizes[:, -1], sizes[:, 0])
    verdict = statistics.decide(interval, "below", than=1.0)
    return interval, verdict if _visible(rows) else INCONCLUSIVE


def _saturating(rows: pd.DataFrame) -> Found:
    steps, sizes = _by_steps(rows)
    if len(steps) < 3 or not _visible(rows):
        return UNKNOWN, INCONCLUSIVE
    growth = statistics.paired(np.log(sizes[:, -1]), np.log(sizes[:, 0]))
    last = statistics.paired(np.log(sizes[:, -1]), np.log(sizes[:, -2]))
    parts = [
        statistics.decide(growth, "above"),
        statistics.decide_equal(last, to=0.0, tolerance=SATURATED),
    ]
    return growth, statistics.all_of(parts)


def _visible(rows: pd.DataFrame) -> bool:
    power = rows["contraction"] ** rows["inner_steps"]
    return bool((power.groupby(rows["seed"]).min() < VISIBLE).all())


def growth(frame: pd.DataFrame) -> dict[str, Found]:
    """P4."""
    return {
        "P4 worst case": _worst(of(frame, "P4", problem="cosine")),
        "P4 real tasks": _on_tasks(of(frame, "P4", problem="two_layer")),
    }


def _worst(rows: pd.DataFrame) -> Found:
    if rows.empty:
        return UNKNOWN, INCONCLUSIVE
    fixed, falling = (
        rows[rows["schedule"] == schedule].sort_values("inner_steps")
        for schedule in ("fixed", "falling")
    )
    first, last = fixed.iloc[0], fixed.iloc[-1]
    predicted = 2 * (last["inner_steps"] - first["inner_steps"]) * math.log(last["growth"])
    rate = math.log(last["measured"] / first["measured"]) / predicted
    bounded = falling["measured"].max() <= math.exp(2 * STEP) * falling["measured"].iloc[0]
    holds = abs(rate - 1) <= RATE and bounded and within(rows)[1] == SUPPORTED
    return Interval(rate, rate, rate, 1), SUPPORTED if holds else NOT_SUPPORTED


def _on_tasks(rows: pd.DataFrame) -> Found:
    exponents = []
    for schedule in ("fixed", "falling"):
        part = rows[rows["schedule"] == schedule] if len(rows) else rows
        steps, sizes = _by_steps(part)
        if len(steps) < 2:
            return UNKNOWN, INCONCLUSIVE
        exponents.append(statistics.slopes(np.log(steps.astype(float)), np.log(sizes)))
    fixed, falling = exponents
    interval = statistics.paired(fixed, falling)
    return interval, statistics.decide(interval, "above")


def _by_steps(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    if rows.empty:
        return np.zeros(0), np.zeros([0, 0])
    return statistics.by_seed(rows, "inner_steps", "measured")


# ---- Pictures and tables ---------------------------------------------------------------------------------------------


def block_panels(frame: pd.DataFrame) -> list[Panel]:
    """The two blocks against N."""
    titles = {"ww": ("by the head", "Lambda_ww"), "phiphi": ("by the body", "Lambda_phiphi")}
    return [
        _panel(of(frame, "P3", block=block), title, f"derived bound {symbol}")
        for block, (title, symbol) in titles.items()
        if len(of(frame, "P3", block=block))
    ]


def growth_panels(frame: pd.DataFrame) -> list[Panel]:
    """Both schedules against N, for the cosine and for real tasks."""
    titles = {"cosine": "worst case: a cosine", "two_layer": "real tasks, two-layer head"}
    panels = []
    for problem, title in titles.items():
        rows = of(frame, "P4", problem=problem)
        if len(rows):
            panels.append(_schedules(rows, title))
    return panels


def _panel(rows: pd.DataFrame, title: str, label: str) -> Panel:
    from anil_tf.study import figures

    limit = rows.groupby("inner_steps")["bound"].max()
    series = [
        figures.measured(rows, x="inner_steps", y="measured"),
        figures.bound(limit.index, limit.to_numpy(), label),
    ]
    return figures.Panel(
        series,
        x_label="inner steps N",
        y_label="curvature of the meta-loss",
        title=title,
        log_x=True,
        log_y=True,
        ticks=list(limit.index),
    )


def _schedules(rows: pd.DataFrame, title: str) -> Panel:
    from anil_tf.study import figures

    series = []
    for schedule, label in (("fixed", "alpha fixed"), ("falling", "alpha = c/N")):
        part = rows[rows["schedule"] == schedule]
        limit = part.groupby("inner_steps")["bound"].max()
        series += [
            figures.measured(part, x="inner_steps", y="measured", label=label),
            figures.bound(limit.index, limit.to_numpy(), f"derived bound, {label}"),
        ]
    return figures.Panel(
        series,
        x_label="inner steps N",
        y_label="curvature of the meta-loss by the head",
        title=title,
        log_x=True,
        log_y=True,
        ticks=sorted(rows["inner_steps"].unique()),
    )


def block_table(frame: pd.DataFrame) -> Table | None:
    """How close P3's bounds are."""
    return ratio_table(
        of(frame, "P3"),
        ["block"],
        "P3: curvature of the meta-loss, strongly convex",
        "Block ww: all constants in closed form. Block phiphi: L, rho, tau and M are the largest met at sampled "
        "points, which are bounds from below, so that this bound is an estimate.",
    )


def growth_table(frame: pd.DataFrame) -> Table | None:
    """How close P4's bounds are."""
    return ratio_table(
        of(frame, "P4"),
        ["problem", "schedule"],
        "P4: curvature of the meta-loss, nonconvex",
        "Cosine: L = rho = M = 1. Two-layer head: constants met at sampled points, so that its bound is an estimate.",
    )


PREDICTIONS = (
    Prediction(
        "P3",
        "P3: the head's curvature fades, the body's saturates",
        "Strongly convex: |d2 L_meta/dw2| decays with N, while |d2 L_meta/dphi2| grows and then saturates. More inner "
        "steps smooth the head's block only.",
        "Largest absolute eigenvalue of a block of the Hessian of the meta-loss, against N. Bars: 95 % over seeds.",
        {key: RULES[key] for key in ("P3 bound", "P3 head", "P3 body")},
        strongly_convex_cells,
        blocks,
        block_panels,
        block_table,
    ),
    Prediction(
        "P4",
        "P4: nonconvex, a fixed step roughens, c/N does not",
        "Nonconvex: the curvature may grow as (1 + alpha L)^(2N) at a fixed alpha, and is bounded in N at alpha = "
        "c/(L N). A cosine attains it; a two-layer tanh head on real tasks may or may not.",
        "Curvature of the meta-loss by the head against N, at fixed and at falling alpha, each with its bound. Bars: "
        "95 % over seeds.",
        {key: RULES[key] for key in ("P4 worst case", "P4 real tasks")},
        nonconvex_cells,
        growth,
        growth_panels,
        growth_table,
    ),
)
