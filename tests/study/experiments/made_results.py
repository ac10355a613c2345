"""Tables of results as an experiment would find them, made from a law: loss(N, meta-step, seed), seconds(N)."""

import math
import pathlib

import numpy as np
import pandas as pd

from anil_tf.study import results
from anil_tf.study.cell import Cell

CHECKPOINTS = (0, 12, 48, 108, 192, 300)
SMOOTHNESS = 10.0


def table(cells, loss, *, seconds=lambda steps: 0.1, smoothness=SMOOTHNESS, folder=None):
    """The frame that `results.read` makes of finished cells.

    Args:
        cells: of an experiment; each training run gets rows, each timing one.
        loss: (settings, meta-step) -> training loss, nan where the run has diverged.
        seconds: N -> seconds of a meta-step.
        smoothness: L.
        folder: written to and read back from there, if given.
    """
    rows = []
    for cell in dict.fromkeys(cells):
        settings = {key: value for key, value in cell.settings.items() if key != "data_dir"}
        found = (
            _training(settings, loss, smoothness)
            if cell.kind == "training.run"
            else [{"seconds_per_meta_step": seconds(settings["inner_steps"])}]
        )
        rows += [{"cell": cell.name, "kind": cell.kind} | settings | row for row in found]
    frame = pd.DataFrame(rows, columns=list(dict.fromkeys(key for row in rows for key in row)))
    if folder is None:
        return frame
    file = pathlib.Path(folder) / "results.csv"
    results.write(frame, file)
    return results.read(file)


def _training(settings, loss, smoothness):
    wanted, strong_convexity = settings["inner_step_size"], settings["inner_l2"]
    alpha = 1 / smoothness if wanted == "1/L" else wanted
    linear = settings["adapted_layers"] == 1
    rows = []
    for step in CHECKPOINTS:
        value = loss(settings, step)
        bad = math.isnan(value)
        rows.append(
            {
                "meta_step": step,
                "train_loss": value,
                "train_accuracy": math.nan if bad else math.exp(-value),
                "test_loss": value,
                "test_accuracy": math.nan if bad else math.exp(-value) - 0.05,
                "batch_loss": value,
                "diverged": bad,
                "alpha": alpha,
                "smoothness_median": smoothness if linear else math.nan,
                "smoothness_max": smoothness if linear else math.nan,
                "smoothness": smoothness if linear and step in (0, CHECKPOINTS[-1]) else math.nan,
                "strong_convexity": strong_convexity if linear else math.nan,
                "contraction_power": (1 - alpha * strong_convexity) ** settings["inner_steps"],
            }
        )
    return rows


def learning(rate, start=lambda steps: 1.55, noise=0.01):
    """A loss that falls from `start(N)` towards 1 at `rate(N)` per meta-step, with noise that a seed's runs share.

    Each run adds a little of its own, so that no interval has zero width.
    """

    def loss(settings, step):
        steps, seed = settings["inner_steps"], settings["seed"]
        own = 0.002 * np.random.default_rng([seed, steps]).normal()
        shared = noise * np.random.default_rng(seed).normal()
        first = start(steps)
        return 1 + (first - 1) * math.exp(-rate(steps) * step) * (1 + own) + shared * (step > 0)

    return loss


def without(cells: list[Cell], **settings) -> list[Cell]:
    """The cells that do not have these settings."""
    return [
        cell
        for cell in cells
        if not all(cell.settings.get(key) == value for key, value in settings.items())
    ]


def verdicts(experiment, frame):
    """Key of a claim to its verdict."""
    return {claim.key: claim.judge(frame).verdict for claim in experiment.claims}


def reasons(experiment, frame):
    """Key of a claim that the design leaves open to the reason."""
    found = {claim.key: claim.judge(frame).reason for claim in experiment.claims}
    return {key: reason for key, reason in found.items() if reason}


def tables(experiment, frame):
    """The frames of the tables that there are."""
    return [table.frame for make in experiment.tables if (table := make(frame))]
