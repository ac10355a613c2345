"""The setting of the experiments that vary something other than the inner loop: what others train ANIL with.

N = 5 inner steps of alpha = 0.05 without l2, conv4, batch normalisation over the whole task, Adam at 1e-3: close to
the public scripts for FC100 (learn2learn: N = 5, alpha = 0.1; stocBiO: N = 20, alpha = 0.05), and to an alpha for MAML.
It is not a small alpha: for 32 filters it lies near 2/L, so tables show L beside it (`curvature`).
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from anil_tf.study import statistics
from anil_tf.study.cell import Cell, Scalar
from anil_tf.study.experiment import Data
from anil_tf.study.scale import Scale
from anil_tf.study.statistics import Interval
from anil_tf.study.sweeps import TRAINING

INNER_STEPS = 5
INNER_STEP_SIZE = 0.05
OUTER_STEP_SIZE = 1e-3
# The faster of the two exact engines for each: unrolled takes 0.95 of explicit's time for MAML (benchmarks/README.md).
ENGINES = {"ANIL": "explicit", "MAML": "unrolled"}
ADAPTED_LAYERS: dict[str, int | str] = {"ANIL": 1, "MAML": "all"}
_SHORT_RUNS = {"smoke": 4, "small": 60, "long": 200}
IN_WORDS = (
    f"{INNER_STEPS} inner steps of alpha = {INNER_STEP_SIZE:g}, no l2, conv4, Adam at {OUTER_STEP_SIZE:g}, batch "
    "normalisation over support and queries of a task"
)


def settings(
    scale: Scale, data: Data, *, seed: int, method: str = "ANIL", **changes: Scalar
) -> dict[str, Scalar]:
    """The settings of one training run, as `training.run` takes them.

    Args:
        scale: gives the sizes.
        data: what is trained on.
        seed: of weights and tasks.
        method: "ANIL" (the last layer adapts) or "MAML" (all layers adapt).
        **changes: other values.
    """
    usual: dict[str, Scalar] = {
        "dataset": data.dataset,
        "data_dir": data.data_dir,
        "body": "conv4",
        "filters": scale.filters,
        "ways": scale.ways,
        "shots": scale.shots,
        "queries": scale.queries,
        "meta_batch_size": scale.meta_batch_size,
        "adapted_layers": ADAPTED_LAYERS[method],
        "inner_steps": INNER_STEPS,
        "inner_step_size": INNER_STEP_SIZE,
        "inner_l2": 0.0,
        "differentiation": ENGINES[method],
        "optimizer": "adam",
        "outer_step_size": OUTER_STEP_SIZE,
        "normalization": "episode",
        "meta_steps": scale.meta_steps,
        "checkpoints": scale.checkpoints,
        "evaluation_tasks": scale.evaluation_tasks,
        "seed": seed,
    }
    return usual | changes


def training_cell(scale: Scale, data: Data, **changes: Any) -> Cell:
    """One training run; takes what `settings` takes."""
    return Cell(TRAINING, settings(scale, data, **changes))


def short_run(scale: Scale) -> int:
    """Meta-steps of runs of which there are many: all of them at the paper's scale."""
    return _SHORT_RUNS.get(scale.name, scale.meta_steps)


CURVATURE_NOTE = (
    "L: the largest curvature of the inner loss over 32 training tasks, at the initial weights and, where it was "
    "measured, at the last checkpoint. Where alpha lies above 2/L, inner steps along the direction of curvature L lead "
    "away from the minimum at first (exactly so for a quadratic)."
)


def curvature(runs: pd.DataFrame) -> dict[str, float | Interval]:
    """Alpha beside L and 2/L: columns for a table; none if the rows have no curvature.

    Args:
        runs: rows of `training.run` in one setting, all seeds and checkpoints.
    """
    if "smoothness_max" not in runs:
        return {}
    by_step = runs.sort_values("meta_step").groupby("seed")
    found = {"L at the start": by_step["smoothness_max"].first()}
    if "smoothness" in runs:
        # As they stand: `last` would pass over a last checkpoint that is missing.
        found["L at the end"] = by_step["smoothness"].agg(lambda column: column.iloc[-1])
    columns: dict[str, float | Interval] = {"alpha": INNER_STEP_SIZE}
    for name, values in found.items():
        columns[name] = statistics.mean(values)
        columns[name.replace("L", "2/L")] = statistics.mean(2 / values)
    return columns
