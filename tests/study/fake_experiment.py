"""Two small experiments in the place of the paper's: means of what cells return that take no time to speak of."""

import contextlib
import pathlib
from unittest import mock

import numpy as np

from anil_tf.study import experiments, statistics
from anil_tf.study.cell import Cell
from anil_tf.study.claims import PAPER, Above, Claim
from anil_tf.study.experiment import Experiment, Picture, Table
from anil_tf.study.figures import Panel, Series

NAMES = ("batch_size", "sample_size")
SEEDS = 4


def experiment(name, marks, seconds):
    """One cell for each of four seeds, the same for both. Of the second, one more fails if FAIL lies beside `marks`."""

    def cells(scale, data):
        settings = {"marks": str(marks), "seconds": seconds, "dataset": data.dataset}
        runner = "tests.study.fake_runs:slow"
        made = [Cell(runner, settings | {"seed": seed}) for seed in range(SEEDS)]
        if (pathlib.Path(marks).parent / "FAIL").exists() and name == NAMES[1]:
            made.append(Cell("tests.study.fake_runs:fail", {"seed": 0}))
        return made

    claim = Claim(
        key="large",
        text="Values are large.",
        said_by=PAPER,
        statistic=lambda frame: statistics.mean(frame["value"]),
        words="The mean over seeds.",
        test=Above(5.0),
        number="value",
        unit="nats",
    )

    def panels(frame):
        return [Panel([Series("values", np.arange(len(frame)), frame["value"])], "seed", "value")]

    return Experiment(
        module=f"fake.{name}",
        order=NAMES.index(name),
        title=f"About {name}",
        lead="Next.",
        question="Are they?",
        cells=cells,
        claims=[claim],
        pictures=[Picture("values.png", "Values", "Values by seed.", panels)],
        tables=[lambda frame: Table("Values", frame[["seed", "value"]])],
    )


@contextlib.contextmanager
def in_the_place_of_the_papers(marks, seconds=0.0):
    """Cells append their seed to the file `marks` when they begin, and take `seconds`."""
    made = {name: experiment(name, marks, seconds) for name in NAMES}
    with (
        mock.patch.object(experiments, "load", made.__getitem__),
        mock.patch.object(experiments, "load_all", lambda: list(made.values())),
    ):
        yield
