"""P3 and P4: the curvature of the meta-loss against the length of the inner loop, in both geometries."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from anil_tf.study import statistics
from anil_tf.study.cell import Cell, Scalar
from anil_tf.study.claims import DERIVATION, Above, AtMost, Below, Claim, Every, Measured, Within
from anil_tf.study.experiment import Data, Picture
from anil_tf.study.figures import Panel
from anil_tf.study.predictions.shared import (
    BEYOND_ROUNDING,
    ESTIMATE,
    WITHIN_BOUND,
    bound_panel,
    cell,
    fades,
    largest,
    largest_ratio,
    ratio_table,
    rows_of,
)
from anil_tf.study.scale import Scale
from anil_tf.study.statistics import UNKNOWN, Interval

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

TEXT = """\
- **P3.** Strongly convex: |d2 L_meta/dw2| decays with N, while |d2 L_meta/dphi2| grows and then saturates. More inner
  steps smooth the head's block only. Here lambda = 1, so that both ends of the course are seen.
- **P4.** Nonconvex: the curvature may grow as (1 + alpha L)^(2N) at a fixed alpha, and is bounded in N at alpha =
  c/(L N). A cosine attains it; a two-layer tanh head on real tasks may or may not."""


def cells(scale: Scale, data: Data) -> list[Cell]:
    """P3: the blocks of each seed. P4: the cosine, and a two-layer head on each seed. Smoke has the cosine alone."""
    most = 8 if scale.name == "smoke" else MOST_INNER_STEPS["P4"]
    p4: dict[str, Scalar] = {"most_inner_steps": most, "step": STEP}
    worst = Cell("meta_smoothness.worst_case", p4 | {"seed": 0})
    if scale.name == "smoke":
        return [worst]
    p3: dict[str, Scalar] = {"most_inner_steps": MOST_INNER_STEPS["P3"], "inner_l2": INNER_L2}
    head: dict[str, Scalar] = {"head": "two_layer", "inner_l2": 0.0}
    blocks, tasks = "meta_smoothness.strongly_convex", "meta_smoothness.nonconvex"
    return [
        *(cell(blocks, scale, data, seed, **p3) for seed in scale.seeds),
        worst,
        *(cell(tasks, scale, data, seed, **(p4 | head)) for seed in scale.seeds),
    ]


# ---- Claims ----------------------------------------------------------------------------------------------------------


def fading(frame: pd.DataFrame) -> Interval | None:
    """The curvature by the head at the largest N over that at the smallest."""
    steps, sizes = _by_steps(rows_of(frame, "P3", block="ww"))
    return statistics.ratio(sizes[:, -1], sizes[:, 0]) if len(steps) > 1 else None


def saturating(frame: pd.DataFrame) -> Measured | None:
    """The growth of ln curvature by the body over all N, and over the last quadrupling."""
    steps, sizes = _by_steps(rows_of(frame, "P3", block="phiphi"))
    if len(steps) < 3:
        return None
    growth, last = (
        statistics.paired(np.log(sizes[:, -1]), np.log(sizes[:, place])) for place in (0, -2)
    )
    return Measured(growth, (growth, last))


def worst_case(frame: pd.DataFrame) -> Measured | None:
    """The rate of growth of the cosine's curvature, its bounds, and its largest curvature at alpha = c/(L N)."""
    rows = rows_of(frame, "P4", problem="cosine")
    if rows.empty:
        return None
    fixed, falling = (
        rows[rows["schedule"] == schedule].sort_values("inner_steps")
        for schedule in ("fixed", "falling")
    )
    first, last = fixed.iloc[0], fixed.iloc[-1]
    predicted = 2 * (last["inner_steps"] - first["inner_steps"]) * math.log(last["growth"])
    rate = largest(np.array([math.log(last["measured"] / first["measured"]) / predicted]))
    bounded = largest(falling["measured"].to_numpy(float))
    return Measured(rate, (rate, largest_ratio(rows) or UNKNOWN, bounded))


def on_tasks(frame: pd.DataFrame) -> Interval | None:
    """The exponent of the curvature in N at fixed alpha minus that at c/N."""
    exponents = []
    for schedule in ("fixed", "falling"):
        steps, sizes = _by_steps(rows_of(frame, "P4", problem="two_layer", schedule=schedule))
        if len(steps) < 2:
            return None
        exponents.append(statistics.slopes(np.log(steps.astype(float)), np.log(sizes)))
    return statistics.paired(exponents[0], exponents[1])


def _by_steps(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    return statistics.by_seed(rows, "inner_steps", "measured")


CLAIMS = [
    Claim(
        key="P3 bound",
        text="P3: |d2 L_meta/dw2| is at most Lambda_ww.",
        said_by=DERIVATION,
        statistic=lambda frame: largest_ratio(rows_of(frame, "P3", block="ww")),
        words="The largest ratio of the curvature to Lambda_ww over N = 1, 4, 16, ..., 1024 and seeds; L, rho and M "
        f"are closed forms of the features, so that the bound holds for sure. {BEYOND_ROUNDING}",
        test=WITHIN_BOUND,
        number="largest measured / bound",
    ),
    Claim(
        key="P3 head",
        text="P3: the curvature of the meta-loss by the head fades as N grows.",
        said_by=DERIVATION,
        statistic=fading,
        words="|d2 L_meta/dw2| at the largest N over that at N = 1, on each seed; geometric mean.",
        test=Below(1.0),
        number="curvature by the head, largest N / N = 1",
        gate=fades("P3", VISIBLE, block="ww"),
    ),
    Claim(
        key="P3 body",
        text="P3: the curvature of the meta-loss by the body grows with N, and then saturates.",
        said_by=DERIVATION,
        statistic=saturating,
        words="ln |d2 L_meta/dphi2| at the largest N minus that at N = 1 (the growth, which is shown), and minus that "
        "at a quarter of it (the last quadrupling), on each seed.",
        test=Every(
            (("the growth", Above(0.0)), ("the last quadrupling", Within(-SATURATED, SATURATED)))
        ),
        number="growth of ln curvature by the body",
        gate=fades("P3", SETTLED, share=1 / 4, block="phiphi"),
    ),
    Claim(
        key="P4 worst case",
        text="P4: where the inner loss curves by -L, curvature grows as (1 + alpha L)^(2N), not at alpha = c/(L N).",
        said_by=DERIVATION,
        statistic=worst_case,
        words=f"Inner and outer loss cos(w), N = 1, 2, 4, ..., 32, c = {STEP:g}; the curvature is the largest over 201 "
        "w. No chance is in it, so an interval is a number. At alpha = c/L the rate is ln curvature at the largest N "
        "minus that at N = 1, over 2 (N - 1) ln(1 + alpha L). What the bound at alpha = c/(L N) rises to as N grows is "
        f"{BOUNDED:.3g}. {BEYOND_ROUNDING}",
        test=Every(
            (
                ("the rate", Within(1 - RATE, 1 + RATE)),
                ("the largest ratio of a curvature to its bound, at either alpha,", WITHIN_BOUND),
                ("the largest curvature at alpha = c/(L N)", AtMost(BOUNDED)),
            )
        ),
        number="measured / predicted rate of growth",
    ),
    Claim(
        key="P4 real tasks",
        text="P4: on real tasks, two-layer head, curvature grows faster with N at fixed alpha than at alpha = c/N.",
        said_by=DERIVATION,
        statistic=on_tasks,
        words="Exponent of |d2 L_meta/dw2| in N, by least squares on logarithms: at alpha = c/L minus at alpha = "
        "c/(L N), c = 0.5 and L the largest curvature by the head met on the inner loops, seed by seed.",
        test=Above(0.0),
        number="exponent at fixed alpha minus exponent at c/N",
    ),
]


# ---- Pictures and tables ---------------------------------------------------------------------------------------------


def _panel(parts: list[tuple[pd.DataFrame, str, str]], title: str, y_label: str) -> Panel:
    return bound_panel(
        parts, x="inner_steps", x_label="inner steps N", y_label=y_label, title=title
    )


def _block_panels(frame: pd.DataFrame) -> list[Panel]:
    titles = {
        "ww": ("by the head", "derived bound Lambda_ww"),
        "phiphi": ("by the body", f"Lambda_phiphi, {ESTIMATE}"),
    }
    return [
        _panel([(rows, "measured", label)], title, "curvature of the meta-loss")
        for block, (title, label) in titles.items()
        if len(rows := rows_of(frame, "P3", block=block))
    ]


def _growth_panels(frame: pd.DataFrame) -> list[Panel]:
    titles = {
        "cosine": ("worst case: a cosine", "derived bounds"),
        "two_layer": ("real tasks, two-layer head", ESTIMATE),
    }
    schedules = {"fixed": "alpha fixed", "falling": "alpha = c/N"}
    panels = []
    for problem, (title, bound) in titles.items():
        parts = [
            (part, label, bound if schedule == "fixed" else "")
            for schedule, label in schedules.items()
            if len(part := rows_of(frame, "P4", problem=problem, schedule=schedule))
        ]
        if parts:
            panels.append(_panel(parts, title, "curvature of the meta-loss by the head"))
    return panels


PICTURES = [
    Picture(
        "P3.png",
        "P3: the head's curvature fades, the body's saturates",
        "Largest absolute eigenvalue of a block of the Hessian of the meta-loss, against N. By the head the bound "
        "holds for sure; by the body its constants are sampled. Bars: 95 % over seeds.",
        _block_panels,
    ),
    Picture(
        "P4.png",
        "P4: nonconvex, a fixed step roughens, c/N does not",
        "Curvature of the meta-loss by the head against N, at fixed and at falling alpha, each with its bound; on real "
        "tasks the constants of the bound are sampled. Bars: 95 % over seeds.",
        _growth_panels,
    ),
]
TABLES = [
    lambda frame: ratio_table(
        rows_of(frame, "P3"),
        ["block"],
        "P3: curvature of the meta-loss, strongly convex",
        f"lambda = {INNER_L2:g}. Block ww: all constants in closed form. Block phiphi: {ESTIMATE}; L, rho, tau and M "
        "are the largest met on the inner loops, hence bounds from below.",
    ),
    lambda frame: ratio_table(
        rows_of(frame, "P4"),
        ["problem", "schedule"],
        "P4: curvature of the meta-loss, nonconvex",
        f"Cosine: L = rho = M = 1. Two-layer head: {ESTIMATE}; L, rho and M, by the head alone, are the largest met on "
        "the inner loops.",
    ),
]
