"""What an experiment is: a question, cells to run, claims, and how their rows are drawn and tabulated.

Everything after the cells sees one table and nothing else, so that verdicts, pictures and reports can be made anew from
a results.csv without running anything.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import pandas as pd

from anil_tf.study.cell import Cell
from anil_tf.study.claims import Claim
from anil_tf.study.figures import Panel
from anil_tf.study.scale import Scale


@dataclasses.dataclass(frozen=True)
class Data:
    """Which data an experiment runs on.

    Attributes:
        dataset: a name that `anil_tf.episodes.load` takes.
        data_dir: where they lie; None for TFDS' default.
    """

    dataset: str
    data_dir: str | None = None


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture of an experiment.

    Attributes:
        file: its name in the folder of the experiment.
        title: above it.
        caption: what it shows and how to read it, in Markdown; its first sentence stands for it where space is short.
        panels: from the results; no panel, no picture.
        columns: panels in a row; None chooses.
        note: small, below everything.
    """

    file: str
    title: str
    caption: str
    panels: Callable[[pd.DataFrame], list[Panel]]
    columns: int | None = None
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of an experiment, shown in its report.

    Attributes:
        title: what it holds.
        frame: its columns, named for readers and with units; the index is not shown.
        note: what is to be known for reading it, in Markdown.
    """

    title: str
    frame: pd.DataFrame
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One experiment of the study: the `EXPERIMENT` of a module in `experiments/`.

    Attributes:
        module: the module's __name__; its last part is the experiment's name on the command line.
        order: its place in the story; no two experiments have the same.
        title: a heading.
        lead: what leads from the experiment before to this one, for the page.
        question: Markdown: what is claimed, by whom, and how it is tested here.
        cells: the cells to run at a scale on some data, those that matter most first.
        claims: what is judged, from the table that `results.collect` makes: a row for each row of each cell, with
            columns `cell`, `kind` ("training.run"), the settings (but data_dir) and what the runner returned.
        pictures: drawn from the same table; the page shows the first.
        tables: shown in the report, from the same table; None where there is nothing to show.
        in_all: whether --experiment=all runs it; those about this library are asked for by name.
        gallery: whether the page shows all pictures, small, each being a finding of its own.
    """

    module: str
    order: int
    title: str
    lead: str
    question: str
    cells: Callable[[Scale, Data], list[Cell]]
    claims: Sequence[Claim]
    pictures: Sequence[Picture]
    tables: Sequence[Callable[[pd.DataFrame], Table | None]] = ()
    in_all: bool = True
    gallery: bool = False

    @property
    def name(self) -> str:
        """Its name on the command line and in claims.json."""
        return self.module.rpartition(".")[2]
