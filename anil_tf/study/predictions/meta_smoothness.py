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
    ESTIMATE,
    UNKNOWN,
    WITHIN,
    Found,
    Prediction,
    bound_panel,
    cell,
    not_at_smoke,
    of,
    ratio_table,
    unseen,
    within,
)
from anil_tf.study.scale import Scale
from anil_tf.study.statistics import Interval

if TYPE_CHECKING:
    import pandas as pd

    from anil_tf.study.figures import Panel

MOST_INNER_STEPS = {"P3": 1024, "P4": 32}
INNER_L2 = 1.0  # lambda of P3: with the 0.5 of the others, q^N would fall too slowly for this N
STEP = 0.5  # c: alpha L, or alpha L N
VISIBLE = 0.5  # q^N must fall below this for the fading of P3 to be seen
SETTLED = 0.05  # q^(N/4) must fall below this for the saturation of P3 to be seen
SATURATED = (
    0.1  # of a logarithm: the last quadrupling of N changes the curvature by less than about 10 %
)
RATE = 0.1  # relative: how well the growth of the worst case must agree with 2 ln(1 + alpha L) per step
# Of the cosine at alpha = c/(L N), L = rho = M = 1: what its derived bound rises to as N grows, p^N to e^c.
BOUNDED = math.exp(2 * STEP) + math.exp(STEP) * (math.exp(STEP) - 1)

RULES = {
    "P3 bound": Rule(
        "P3: |d2 L_meta/dw2| is at most Lambda_ww (derived).",
        "The largest ratio of the curvature to Lambda_ww over N = 1, 4, 16, ..., 1024 and seeds; L, rho and M are "
        f"closed forms of the features, so that the bound holds for sure. Supported if none exceeds {WITHIN}, not "
        "supported if one does. The interval is the range of the seeds.",
        "largest measured / bound",
    ),
    "P3 head": Rule(
        "P3: the curvature of the meta-loss by the head fades as N grows.",
        "|d2 L_meta/dw2| at the largest N over that at N = 1, on each seed; geometric mean with Student's 95 % "
        "interval of the logarithm. Supported if the whole interval lies below 1, not supported if above, else "
        f"inconclusive, as where at the largest N q^N is not below {VISIBLE:g} on every seed.",
        "curvature by the head, largest N / N = 1",
    ),
    "P3 body": Rule(
        "P3: the curvature of the meta-loss by the body grows with N, and then saturates.",
        "ln |d2 L_meta/dphi2| at the largest N minus that at N = 1 (growth), and minus that at a quarter of it "
        "(last quadrupling), on each seed; Student's 95 % intervals. Supported if the whole interval of the growth "
        f"lies above 0 and that of the last quadrupling within +-{SATURATED:g}; not supported if one lies wholly "
        f"outside; else inconclusive, as where at a quarter of the largest N q^N is not below {SETTLED:g} on every "
        "seed. The number shown is the growth.",
        "growth of ln curvature by the body",
    ),
    "P4 worst case": Rule(
        "P4: where the inner loss curves by -L, the meta-loss's curvature grows as (1 + alpha L)^(2N) at fixed alpha, "
        "and stays bounded at alpha = c/(L N) (derived).",
        f"Inner and outer loss cos(w), N = 1, 2, 4, ..., 32, c = {STEP:g}; the curvature is the largest over 201 w. At "
        "alpha = c/L: ln curvature at the largest N minus that at N = 1, over 2 (N - 1) ln(1 + alpha L). No chance "
        f"is in it: supported if that is 1 up to {RATE:g}, at either alpha no ratio of a curvature to its bound at "
        f"that N exceeds {WITHIN}, and at alpha = c/(L N) none of the curvatures exceeds {BOUNDED:.3g}, to which "
        "that bound rises as N grows; else not supported.",
        "measured / predicted rate of growth",
    ),
    "P4 real tasks": Rule(
        "P4: it shows on real tasks: with a two-layer head the curvature grows faster with N at fixed alpha than at "
        "alpha = c/N.",
        "Exponent of |d2 L_meta/dw2| in N, by least squares on logarithms: at alpha = c/L minus at alpha = c/(L N), c "
        "= 0.5 and L the largest curvature by the head met on the inner loops, seed by seed; Student's 95 % interval. "
        "Supported if the whole interval lies above 0, not supported if it lies below 0, else inconclusive.",
        "exponent at fixed alpha minus exponent at c/N",
    ),
}


@not_at_smoke
def strongly_convex_cells(scale: Scale, data: Data) -> list[Cell]:
    """P3: the blocks of each seed."""
    settings: dict[str, Scalar] = {"most_inner_steps": MOST_INNER_STEPS["P3"], "inner_l2": INNER_L2}
    runner = "meta_smoothness.strongly_convex"
    return [cell(runner, scale, data, seed, **settings) for seed in scale.seeds]


def nonconvex_cells(scale: Scale, data: Data) -> list[Cell]:
    """P4: the cosine, and a two-layer head on each seed."""
    most = 8 if scale.name == "smoke" else MOST_INNER_STEPS["P4"]
    settings: dict[str, Scalar] = {"most_inner_steps": most, "step": STEP}
    worst = Cell("meta_smoothness.worst_case", settings | {"seed": 0})
    if scale.name == "smoke":
        return [worst]
    head: dict[str, Scalar] = {"head": "two_layer", "inner_l2": 0.0}
    return [worst] + [
        cell("meta_smoothness.nonconvex", scale, data, seed, **(settings | head))
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
    if hidden := unseen(rows, VISIBLE):
        return interval, INCONCLUSIVE, hidden
    return interval, statistics.decide(interval, "below", than=1.0)


def _saturating(rows: pd.DataFrame) -> Found:
    steps, sizes = _by_steps(rows)
    if len(steps) < 3:
        return UNKNOWN, INCONCLUSIVE
    growth = statistics.paired(np.log(sizes[:, -1]), np.log(sizes[:, 0]))
    last = statistics.paired(np.log(sizes[:, -1]), np.log(sizes[:, -2]))
    if hidden := unseen(rows, SETTLED, share=1 / 4):
        return growth, INCONCLUSIVE, hidden
    parts = [
        statistics.decide(growth, "above"),
        statistics.decide_equal(last, to=0.0, tolerance=SATURATED),
    ]
    return growth, statistics.all_of(parts)


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
    bounded = falling["measured"].max() <= BOUNDED
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
    titles = {
        "ww": ("by the head", "derived bound Lambda_ww"),
        "phiphi": ("by the body", f"Lambda_phiphi, {ESTIMATE}"),
    }
    return [
        _panel([(rows, "measured", label)], title, "curvature of the meta-loss")
        for block, (title, label) in titles.items()
        if len(rows := of(frame, "P3", block=block))
    ]


def growth_panels(frame: pd.DataFrame) -> list[Panel]:
    """Both schedules against N, for the cosine and for real tasks."""
    titles = {
        "cosine": ("worst case: a cosine", "derived bounds"),
        "two_layer": ("real tasks, two-layer head", ESTIMATE),
    }
    schedules = {"fixed": "alpha fixed", "falling": "alpha = c/N"}
    panels = []
    for problem, (title, bound) in titles.items():
        rows = of(frame, "P4", problem=problem)
        parts = [
            (part, label, bound if schedule == "fixed" else "")
            for schedule, label in schedules.items()
            if len(part := of(rows, "P4", schedule=schedule))
        ]
        if parts:
            panels.append(_panel(parts, title, "curvature of the meta-loss by the head"))
    return panels


def _panel(parts: list[tuple[pd.DataFrame, str, str]], title: str, y_label: str) -> Panel:
    return bound_panel(
        parts, x="inner_steps", x_label="inner steps N", y_label=y_label, title=title
    )


def block_table(frame: pd.DataFrame) -> Table | None:
    """How close P3's bounds are."""
    return ratio_table(
        of(frame, "P3"),
        ["block"],
        "P3: curvature of the meta-loss, strongly convex",
        f"lambda = {INNER_L2:g}. Block ww: all constants in closed form. Block phiphi: {ESTIMATE}; L, rho, tau and M "
        "are the largest met on the inner loops, hence bounds from below.",
    )


def growth_table(frame: pd.DataFrame) -> Table | None:
    """How close P4's bounds are."""
    return ratio_table(
        of(frame, "P4"),
        ["problem", "schedule"],
        "P4: curvature of the meta-loss, nonconvex",
        f"Cosine: L = rho = M = 1. Two-layer head: {ESTIMATE}; L, rho and M, by the head alone, are the largest met on "
        "the inner loops.",
    )


PREDICTIONS = (
    Prediction(
        "P3",
        "P3: the head's curvature fades, the body's saturates",
        "Strongly convex: |d2 L_meta/dw2| decays with N, while |d2 L_meta/dphi2| grows and then saturates. More inner "
        "steps smooth the head's block only. Here lambda = 1, so that both ends of the course are seen.",
        "Largest absolute eigenvalue of a block of the Hessian of the meta-loss, against N. By the head the bound "
        "holds for sure; by the body its constants are sampled. Bars: 95 % over seeds.",
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
        "Curvature of the meta-loss by the head against N, at fixed and at falling alpha, each with its bound; on real "
        "tasks the constants of the bound are sampled. Bars: 95 % over seeds.",
        {key: RULES[key] for key in ("P4 worst case", "P4 real tasks")},
        nonconvex_cells,
        growth,
        growth_panels,
        growth_table,
    ),
)
