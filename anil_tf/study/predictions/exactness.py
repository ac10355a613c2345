"""P10: the recursion of Proposition 1 and the unrolled computation agree to the last digits."""

from __future__ import annotations

import pandas as pd

from anil_tf.study import figures
from anil_tf.study.cell import Cell, Scalar
from anil_tf.study.claims import DERIVATION, AtMost, Claim
from anil_tf.study.experiment import Data, Picture, Table
from anil_tf.study.figures import Panel
from anil_tf.study.predictions.shared import SMOOTH, USUAL, cell, largest, rows_of, seeds
from anil_tf.study.scale import Scale
from anil_tf.study.statistics import Interval

LIMIT = 1e-10
SMALLEST = 1e-18  # where a difference of exactly zero is drawn
_CASES: dict[str, dict[str, Scalar]] = {
    "linear head": {"head": "linear"},
    "two-layer head": {"head": "two_layer", "inner_l2": 0.0},
    "linear head, conv4": {"head": "linear", "body": USUAL},
    "MAML": {"head": "all", "inner_l2": 0.0, "meta_batch_size": 1},
}

TEXT = f"""\
- **P10.** The reverse recursion of Proposition 1, which the library trains with, equals automatic differentiation of
  the written-out inner loop: relative difference below {LIMIT:g} in float64."""


def cells(scale: Scale, data: Data) -> list[Cell]:
    """A linear head on each seed, all other cases on the first."""
    cases = ["linear head"] if scale.name == "smoke" else list(_CASES)
    most = 2 if scale.name == "smoke" else 4
    length: dict[str, Scalar] = {"most_inner_steps": most, "inner_step_size": 0.1}
    return [
        cell("exactness.run", scale, data, seed, **(length | _CASES[case]))
        for case in cases
        for seed in (scale.seeds[:1] if case != "linear head" else seeds(scale))
    ]


def difference(frame: pd.DataFrame) -> Interval | None:
    """The largest relative difference."""
    rows = rows_of(frame, "P10")
    if rows.empty:
        return None
    by_seed = rows.groupby("seed")["measured"]
    return largest(by_seed.agg(lambda one: one.max(skipna=False)).to_numpy(float))


CLAIMS = [
    Claim(
        key="P10",
        text="P10: Proposition 1 by its reverse recursion is the exact meta-gradient.",
        said_by=DERIVATION,
        statistic=difference,
        words="Norm of the difference between the recursion's and the unrolled meta-gradient over the norm of the "
        "latter, in float64; the largest over N = 1, 2, 4, over head and body parts, and over the cases: on the smooth "
        "body a linear head (every seed), a two-layer head and MAML, and a linear head on conv4 (first seed).",
        test=AtMost(LIMIT),
        number="largest relative difference",
    )
]


def _labelled(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with their case, for readers."""
    rows = rows_of(frame, "P10")
    if rows.empty:
        return rows
    heads = rows["head"].map(
        {"linear": "linear head", "two_layer": "two-layer head", "all": "MAML"}
    )
    return rows.assign(case=heads.where(rows["body"] == SMOOTH, heads + ", " + rows["body"]))


def _panels(frame: pd.DataFrame) -> list[Panel]:
    rows = _labelled(frame)
    if rows.empty:
        return []
    shown = rows.assign(measured=rows["measured"].clip(lower=SMALLEST))
    worst = shown.groupby(["case", "seed", "inner_steps"], as_index=False)["measured"].max()
    return [
        Panel(
            figures.curves(worst, x="inner_steps", y="measured", by="case"),
            x_label="inner steps N",
            y_label="relative difference",
            title="recursion against unrolling",
            log_y=True,
            ticks=sorted(rows["inner_steps"].unique()),
            lines={"limit of the rule": LIMIT},
            y_limits=(SMALLEST / 3, 1e-8),
        )
    ]


def table(frame: pd.DataFrame) -> Table | None:
    """The largest difference of each case."""
    rows = _labelled(frame)
    if rows.empty:
        return None
    lines = rows.groupby(["case", "part"], as_index=False, sort=False)["measured"].max()
    lines = lines.rename(columns={"measured": "largest relative difference"})
    note = "In float64, whose rounding is 1.1e-16."
    return Table("P10: recursion against unrolling", lines, note)


PICTURES = [
    Picture(
        "P10.png",
        "P10: the recursion is exact",
        "Relative difference between the two meta-gradients, the larger of head and body, against N; bands are the "
        f"range of the seeds. Exactly equal ones are drawn at {SMALLEST:g}.",
        _panels,
    )
]
TABLES = [table]
