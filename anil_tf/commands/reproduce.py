"""Runs the paper's experiments, and shows what was found."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shlex
import sys
import time
import traceback
from collections.abc import Iterator
from typing import Any

import pandas
from absl import logging

from anil_tf import episodes
from anil_tf.commands import program
from anil_tf.config import InputError, Reproduce, input_errors, options
from anil_tf.config.errors import EXIT_DONE, EXIT_FAILED
from anil_tf.evaluation import protocol
from anil_tf.study import experiments, grid, markdown, present, results
from anil_tf.study.experiment import Data
from anil_tf.study.page import Section
from anil_tf.study.present import read_about, write_about
from anil_tf.study.scale import SCALES

_ALL = "all"
# What the results in a folder are results of: none of it can change in a folder that has some.
_IDENTITY = ("experiment", "scale", "dataset")


def reproduce(config: Reproduce) -> int:
    """Runs what is missing, then writes claims, pictures and reports from the tables.

    Args:
        config: the experiments, their scale and data, and where results go.

    Returns:
        An exit code: 1 where cells failed or a table could not be judged, which is said in a line each.

    Raises:
        InputError: for a directory with results of something else, and for data that cannot be had.
        Stopped: after a signal; finished cells are kept.
    """
    failed = [] if config.from_results else _run_cells(config)
    sections, unreadable = _present_all(config)
    if config.experiment == _ALL and sections:
        present.write_page(_output(config), sections)
    for text in (*failed, *unreadable):
        print(f"{program.name_in_errors('reproduce')}: {text}", file=sys.stderr)
    return EXIT_FAILED if failed or unreadable else EXIT_DONE


# ---- Runs ------------------------------------------------------------------------------------------------------------


def _run_cells(config: Reproduce) -> list[str]:
    """Runs the cells, writes each experiment's table; returns what went wrong, a line each."""
    for name, folder in _wanted(config).items():
        _refuse_other_results(config, folder, name)
    _refuse_other_results(config, _output(config), config.experiment)
    data = Data(config.dataset, config.data_dir)
    grids = {
        name: experiments.load(name).cells(SCALES[config.scale], data) for name in _wanted(config)
    }
    cells = list(dict.fromkeys(cell for group in grids.values() for cell in group))
    store = _output(config) / "cells"
    missing = sum(not grid.is_finished(cell, store) for cell in cells)
    if missing:
        _check_data(config)
    write_about(
        _output(config), {name: _identity(config, config.experiment)[name] for name in _IDENTITY}
    )
    print(f"{len(cells)} cells, {len(cells) - missing} of them finished.", flush=True)
    with _on_the_clock(config):
        failures = grid.run(cells, store)
    _write_tables(config, grids)
    if not failures:
        return []
    shown = shlex.quote(os.path.relpath(store))
    return [
        f"{len(failures)} of {len(cells)} cells failed, and no experiment is judged that needs them: "
        f"{shown}/*.failed.txt say why; the same command runs them again."
    ]


@contextlib.contextmanager
def _on_the_clock(config: Reproduce) -> Iterator[None]:
    """Adds the time spent inside to the seconds in about.json, also when it ends in a signal."""
    since = time.perf_counter()
    try:
        yield
    finally:
        before = read_about(_output(config)).get("seconds", 0.0)
        write_about(_output(config), {"seconds": round(before + time.perf_counter() - since, 1)})


def _write_tables(config: Reproduce, grids: dict[str, list[Any]]) -> None:
    """results.csv and about.json of each experiment whose cells are all finished."""
    store = _output(config) / "cells"
    wanted = _wanted(config)
    finished = {
        name: cells
        for name, cells in grids.items()
        if all(grid.is_finished(cell, store) for cell in cells)
    }
    for name, cells in finished.items():
        wanted[name].mkdir(parents=True, exist_ok=True)
        results.write(results.collect(cells, store), wanted[name] / "results.csv")
        write_about(wanted[name], _about(config, name, cells))
    if config.experiment == _ALL:
        every = list(dict.fromkeys(cell for cells in grids.values() for cell in cells))
        if len(finished) == len(grids):
            write_about(_output(config), _about(config, _ALL, every))


def _refuse_other_results(config: Reproduce, folder: pathlib.Path, name: str) -> None:
    """Refuses a folder whose results are of something else."""
    about, here = read_about(folder), _identity(config, name)
    there = {key: about.get(key, here[key]) for key in _IDENTITY}
    if there != here:
        held, received = (
            " ".join(f"--{key}={value}" for key, value in one.items()) for one in (there, here)
        )
        raise InputError(
            f"--output_dir={config.output_dir}: {folder} holds results of {held}; expected another "
            f"directory for {received}."
        )


def _check_data(config: Reproduce) -> None:
    """Finds data that cannot be had before any cell does."""
    with input_errors(config, "dataset"):
        tasks = episodes.load(
            config.dataset,
            split="test",
            ways=2,
            shots=1,
            queries=1,
            meta_batch_size=1,
            seed=0,
            data_dir=config.data_dir,
        )
        if tasks.regression:
            raise ValueError("the study measures accuracies; expected data with classes.")


# ---- What was found --------------------------------------------------------------------------------------------------


def _present_all(config: Reproduce) -> tuple[list[Section], list[str]]:
    """Claims, pictures and a report for every table; what there is for the page, and what failed."""
    is_all = config.experiment == _ALL
    folders = present.folders(_output(config)) if is_all else _only_folder(config)
    if not folders and config.from_results:
        raise InputError(
            f"--from_results: expected a results.csv with its about.json in {config.output_dir}"
            f"{'/NAME' if is_all else ''}, found none; without --from_results they are made."
        )
    sections, failed = [], []
    for folder in folders:
        try:
            section = present.present(folder, _output(config))
        except Exception as error:  # the other experiments are worth having
            if logging.level_debug():
                traceback.print_exc()
            failed.append(f"{folder}: {type(error).__name__}: {' '.join(str(error).split())}")
            continue
        sections.append(section)
        found = markdown.in_short(section.outcomes)
        print(f"{section.experiment.name} ({section.about['scale']}): {found}")
        for one in section.outcomes:
            print(f"  {markdown.verdict_on([one])}: {one.claim.sentence}".replace("**", ""))
    return sections, failed


def _only_folder(config: Reproduce) -> list[pathlib.Path]:
    """The output folder, if it has a table of the one experiment that is wanted."""
    about = read_about(_output(config))
    if about.get("experiment", config.experiment) != config.experiment:
        raise InputError(
            f"--experiment={config.experiment}: {config.output_dir} holds results of "
            f"--experiment={about['experiment']}."
        )
    return [_output(config)] if about and (_output(config) / "results.csv").exists() else []


# ---- What it is results of -------------------------------------------------------------------------------------------


def _output(config: Reproduce) -> pathlib.Path:
    return pathlib.Path(config.output_dir)


def _wanted(config: Reproduce) -> dict[str, pathlib.Path]:
    """The experiments to run, and where each of them goes."""
    if config.experiment == _ALL:
        names = [one.name for one in experiments.load_all() if one.in_all]
        return {name: _output(config) / name for name in names}
    return {config.experiment: _output(config)}


def _identity(config: Reproduce, name: str) -> dict[str, str]:
    is_folder = config.dataset == "image_folder"
    dataset = f"image_folder {config.data_dir}" if is_folder else config.dataset
    return {"experiment": name, "scale": config.scale, "dataset": dataset}


def _about(config: Reproduce, name: str, cells: list[Any]) -> dict[str, Any]:
    """How an experiment was run: what repeats it, on which machine, with which code."""
    command = f"python bin/reproduce.py --experiment={name} --scale={config.scale}"
    if config.dataset != options(Reproduce)["dataset"].default:
        command += f" --dataset={config.dataset}"
    of_cells = sum(grid.read(cell, _output(config) / "cells")["seconds"] for cell in cells)
    return _identity(config, name) | {
        "command": f"{command} --output_dir=OUT",
        "seeds": len(_seeds(config, cells)),
        "cells": len(cells),
        "cell_seconds": round(of_cells, 1),
        "hardware": protocol.hardware(),
        "commit": protocol.commit(),
        "versions": protocol.software() | {"pandas": pandas.__version__},
    }


def _seeds(config: Reproduce, cells: list[Any]) -> set[int]:
    """The seeds of the cells, without the 0 of cells that draw nothing; smoke alone has a seed 0."""
    known = {seed for scale in (config.scale, "long") for seed in SCALES[scale].seeds}
    return {cell.settings.get("seed") for cell in cells} & known


def how_to_go_on(config: Reproduce) -> str:
    """What a user types after a signal."""
    return "The same command goes on."
