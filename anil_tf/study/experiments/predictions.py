"""Experiment 6: predictions of the theory, each a small plot with the derived bound beside the measurement."""

from __future__ import annotations

from anil_tf.study.cell import Cell
from anil_tf.study.experiment import Data, Experiment
from anil_tf.study.predictions import (
    contraction,
    exactness,
    meta_smoothness,
    meta_steps,
    sampling,
)
from anil_tf.study.scale import Scale

_MODULES = (contraction, meta_smoothness, meta_steps, sampling, exactness)
_LONG_ONES = ("sampling.run", "meta_smoothness.strongly_convex", "meta_smoothness.worst_case")

QUESTION = f"""\
A theory earns trust by saying what must not happen. From the assumptions of the paper follow explicit bounds, with
constants, which are *derived* and tested in `anil_tf/theory/bounds.py`; no formula here is a quotation of the paper's.
Each becomes a prediction that a measurement could refute:

{chr(10).join(module.TEXT for module in _MODULES)}

P5 (meta-steps fall with N, and work has a minimum) is judged by `complexity`, and P9 (MAML's time grows with N, ANIL's
does not) by `anil_vs_maml`.

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
    every = [cell for module in _MODULES for cell in module.cells(scale, data)]
    return sorted(every, key=lambda cell: cell.kind not in _LONG_ONES)


EXPERIMENT = Experiment(
    module=__name__,
    order=7,
    title="Predictions of the theory",
    lead="So far we watched training. The derivation says more, and more sharply: predictions on trajectories, "
    "gradients and curvatures, each drawn beside what was measured.",
    question=QUESTION,
    cells=cells,
    claims=[claim for module in _MODULES for claim in module.CLAIMS],
    pictures=[picture for module in _MODULES for picture in module.PICTURES],
    tables=[table for module in _MODULES for table in module.TABLES],
    gallery=True,
)
