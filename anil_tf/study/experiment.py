"""What an experiment is: a question, rules fixed before any run, cells to run, and how to read their rows.

Everything after the cells (`judge`, `draw`, `tables`) sees one table and nothing else, so that claims and figures can
be made anew from a results.csv without running anything.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from anil_tf.study.cell import Cell
from anil_tf.study.scale import Scale

if TYPE_CHECKING:
    import pandas as pd

    from anil_tf.study.claims import Claim, Picture, Rule, Table


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
class Experiment:
    """One experiment of the study.

    Attributes:
        name: its name in `experiments.EXPERIMENTS` and on the command line.
        title: a heading.
        question: Markdown: what is claimed, by whom, and how it is tested here.
        rules: key to the claim and the statistical rule that decides about it, fixed before any run.
        cells: the cells to run at a scale on some data, those that matter most first.
        judge: the verdicts, one per rule, from the table that `results.collect` makes: a row for each row of each cell,
            with columns `cell`, `kind` ("training.run"), the settings (but data_dir) and what the runner returned.
            `results.rows_of` picks one kind, `results.with_seconds` joins training and timing.
        draw: draws pictures from the same table into a folder.
        tables: what the report shows as tables, from the same table.
    """

    name: str
    title: str
    question: str
    rules: Mapping[str, Rule]
    cells: Callable[[Scale, Data], list[Cell]]
    judge: Callable[[pd.DataFrame], list[Claim]]
    draw: Callable[[pd.DataFrame, pathlib.Path], list[Picture]]
    tables: Callable[[pd.DataFrame], list[Table]]
