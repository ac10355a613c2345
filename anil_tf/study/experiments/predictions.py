"""Experiment 6: ten predictions of the theory, each a small plot with the derived bound beside the measurement."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING

from anil_tf.study.cell import Cell
from anil_tf.study.claims import Claim, Picture, Table
from anil_tf.study.experiment import Data, Experiment
from anil_tf.study.predictions import (
    contraction,
    exactness,
    meta_smoothness,
    meta_steps,
    sampling,
    seconds,
)
from anil_tf.study.scale import Scale

if TYPE_CHECKING:
    import pandas as pd

NAME = "predictions"
PREDICTIONS = (
    *contraction.PREDICTIONS,  # P1, P2
    *meta_smoothness.PREDICTIONS,  # P3, P4
    meta_steps.P5,
    seconds.P6,
    meta_steps.P7,
    *sampling.PREDICTIONS,  # P8
    seconds.P9,
    *exactness.PREDICTIONS,  # P10
)
_LONG_ONES = ("sampling.run", "meta_smoothness.strongly_convex", "meta_smoothness.worst_case")
RULES = {key: rule for one in PREDICTIONS for key, rule in one.rules.items()}

QUESTION = f"""\
A theory earns trust by saying what must not happen. From the assumptions of the paper follow explicit bounds, with
constants, which are *derived* and tested in `anil_tf/theory/bounds.py`; no formula here is a quotation of the paper's.
Each becomes a prediction that a measurement could refute:

{chr(10).join(f"- **{one.name}.** {one.text}" for one in PREDICTIONS)}

**Where the assumptions hold, and where not.** The bounds ask for smooth losses. So the measurements take real tasks
and a smooth body: conv4 with tanh, average pooling and no batch statistics, under a linear softmax head with lambda >
0, which makes the inner problem strongly convex. The usual conv4 (ReLU, maxima, batch normalisation) stands beside it
in P1 and P2, whose bounds see only the head, and must hold there as well. Everything that moves the body is outside
the assumptions for conv4: there its numbers would prove nothing, and are not shown. P4 and P7 are about the nonconvex
geometry and take a two-layer tanh head.

**How sure a bound is.** Of a linear softmax head all constants have closed forms: mu = lambda, L = lambda + half the
largest eigenvalue of the features' second moments, rho and M from the longest feature. A bound made of them holds for
sure, and a single point above it would refute the theory or the code. Where no closed form is
known (P3 by the body, P4 on real tasks, P8 of the body) the constants are the largest that were *met* at sampled
points; such a bound is an estimate, and no verdict hangs on it.
"""


def cells(scale: Scale, data: Data) -> list[Cell]:
    """The cells of all predictions; the longest begin first, or a core would wait for the last of them."""
    every = [cell for one in PREDICTIONS for cell in one.cells(scale, data)]
    return sorted(every, key=lambda cell: cell.kind not in _LONG_ONES)


def judge(frame: pd.DataFrame) -> list[Claim]:
    """One claim for each rule."""
    found = {key: result for one in PREDICTIONS for key, result in one.judge(frame).items()}
    return [rule.claimed(NAME, *found[key]) for key, rule in RULES.items()]


def draw(frame: pd.DataFrame, folder: pathlib.Path) -> list[Picture]:
    """A picture for each prediction that was measured."""
    from anil_tf.study import figures

    pictures = []
    for one in PREDICTIONS:
        panels = one.panels(frame)
        if panels:
            file = f"{one.name}.png"
            figures.draw(panels, folder / file, title=one.title)
            pictures.append(Picture(file, one.caption))
    return pictures


def tables(frame: pd.DataFrame) -> list[Table]:
    """The numbers behind the pictures."""
    return [table for one in PREDICTIONS if (table := one.table(frame)) is not None]


EXPERIMENT = Experiment(
    name=NAME,
    title="Ten predictions of the theory",
    question=QUESTION,
    rules=RULES,
    cells=cells,
    judge=judge,
    draw=draw,
    tables=tables,
)
