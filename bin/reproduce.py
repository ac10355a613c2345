"""Runs the paper's experiments: python bin/reproduce.py --experiment=NAME|all --output_dir=OUT

OUT then holds results.csv, claims.json (each claim with the rule that decided it), pictures,
report.md and about.json; with --experiment=all, OUT/NAME/ holds that for each experiment and
OUT/README.md tells the story. Cells, the units of work, are kept in OUT/cells: Ctrl-C loses only
those under way, exit code 75, and the same command goes on. --from_results runs nothing and makes
everything but results.csv anew from it.
"""

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

from launch import flags, launch

FLAGS, InputError, blamed_on = flags.FLAGS, flags.InputError, flags.blamed_on
GROUPS = ("study",)
_ALL = "all"
# What the results in a folder are results of: none of it can change in a folder that has some.
_IDENTITY = ("experiment", "scale", "dataset")


def main() -> int:
    """Runs what is missing, then writes claims, pictures and reports from the tables."""
    failed = [] if FLAGS.from_results else _run_cells()
    sections, unreadable = _present_all()
    if FLAGS.experiment == _ALL and sections:
        from anil_tf.study import present

        present.write_page(_output(), sections)
    for text in (*failed, *unreadable):
        print(f"reproduce.py: {text}", file=sys.stderr)
    return flags.EXIT_FAILED if failed or unreadable else flags.EXIT_DONE


# ---- Runs ------------------------------------------------------------------------------------------------------------


def _run_cells() -> list[str]:
    """Runs the cells, writes each experiment's table; returns what went wrong, a line each."""
    from anil_tf.study import grid
    from anil_tf.study.experiment import Data
    from anil_tf.study.scale import SCALES

    for name, folder in _wanted().items():
        _refuse_other_results(folder, name)
    _refuse_other_results(_output(), FLAGS.experiment)
    data = Data(FLAGS.dataset, FLAGS.data_dir)
    grids = {name: _experiment(name).cells(SCALES[FLAGS.scale], data) for name in _wanted()}
    cells = list(dict.fromkeys(cell for group in grids.values() for cell in group))
    store = _output() / "cells"
    missing = sum(not grid.is_finished(cell, store) for cell in cells)
    if missing:
        _check_data()
    _write_about(_output(), {name: _identity(FLAGS.experiment)[name] for name in _IDENTITY})
    print(f"{len(cells)} cells, {len(cells) - missing} of them finished.", flush=True)
    with _on_the_clock():
        failures = grid.run(cells, store)
    _write_tables(grids)
    if not failures:
        return []
    shown = shlex.quote(os.path.relpath(store))
    return [
        f"{len(failures)} of {len(cells)} cells failed, and no experiment is judged that needs them: "
        f"{shown}/*.failed.txt say why; the same command runs them again."
    ]


@contextlib.contextmanager
def _on_the_clock() -> Iterator[None]:
    """Adds the time spent inside to the seconds in about.json, also when it ends in a signal."""
    since = time.perf_counter()
    try:
        yield
    finally:
        before = _read_about(_output()).get("seconds", 0.0)
        _write_about(_output(), {"seconds": round(before + time.perf_counter() - since, 1)})


def _write_tables(grids: dict[str, list[Any]]) -> None:
    """results.csv and about.json of each experiment whose cells are all finished."""
    from anil_tf.study import grid, results

    store = _output() / "cells"
    wanted = _wanted()
    finished = {
        name: cells
        for name, cells in grids.items()
        if all(grid.is_finished(cell, store) for cell in cells)
    }
    for name, cells in finished.items():
        wanted[name].mkdir(parents=True, exist_ok=True)
        results.write(results.collect(cells, store), wanted[name] / "results.csv")
        _write_about(wanted[name], _about(name, cells))
    if FLAGS.experiment == _ALL:
        every = list(dict.fromkeys(cell for cells in grids.values() for cell in cells))
        if len(finished) == len(grids):
            _write_about(_output(), _about(_ALL, every))


def _refuse_other_results(folder: pathlib.Path, name: str) -> None:
    """Refuses a folder whose results are of something else."""
    about, here = _read_about(folder), _identity(name)
    there = {key: about.get(key, here[key]) for key in _IDENTITY}
    if there != here:
        held, received = (
            " ".join(f"--{key}={value}" for key, value in one.items()) for one in (there, here)
        )
        raise InputError(
            f"--output_dir={FLAGS.output_dir}: {folder} holds results of {held}; expected another "
            f"directory for {received}."
        )


def _check_data() -> None:
    """Finds data that cannot be had before any cell does."""
    from anil_tf import episodes

    with blamed_on("dataset"):
        tasks = episodes.load(
            FLAGS.dataset,
            split="test",
            ways=2,
            shots=1,
            queries=1,
            meta_batch_size=1,
            seed=0,
            data_dir=FLAGS.data_dir,
        )
        if tasks.regression:
            raise ValueError("the study measures accuracies; expected data with classes.")


# ---- What was found --------------------------------------------------------------------------------------------------


def _present_all() -> tuple[list[Any], list[str]]:
    """Claims, pictures and a report for every table; what there is for the page, and what failed."""
    from anil_tf.study import markdown, present

    folders = present.folders(_output()) if FLAGS.experiment == _ALL else _only_folder()
    if not folders and FLAGS.from_results:
        raise InputError(
            f"--from_results: expected a results.csv with its about.json in {FLAGS.output_dir}"
            f"{'/NAME' if FLAGS.experiment == _ALL else ''}, found none; without --from_results they are made."
        )
    sections, failed = [], []
    for folder in folders:
        try:
            section = present.present(folder, _output())
        except Exception as error:  # the other experiments are worth having
            if FLAGS.verbosity >= 1:
                traceback.print_exc()
            failed.append(f"{folder}: {type(error).__name__}: {' '.join(str(error).split())}")
            continue
        sections.append(section)
        found = markdown.in_short(section.outcomes)
        print(f"{section.experiment.name} ({section.about['scale']}): {found}")
        for one in section.outcomes:
            print(f"  {markdown.verdict_on([one])}: {one.claim.sentence}".replace("**", ""))
    return sections, failed


def _only_folder() -> list[pathlib.Path]:
    """The output folder, if it has a table of the one experiment that is wanted."""
    about = _read_about(_output())
    if about.get("experiment", FLAGS.experiment) != FLAGS.experiment:
        raise InputError(
            f"--experiment={FLAGS.experiment}: {FLAGS.output_dir} holds results of "
            f"--experiment={about['experiment']}."
        )
    return [_output()] if about and (_output() / "results.csv").exists() else []


# ---- Names, and about.json -------------------------------------------------------------------------------------------


def _output() -> pathlib.Path:
    return pathlib.Path(FLAGS.output_dir)


def _wanted() -> dict[str, pathlib.Path]:
    """The experiments to run, and where each of them goes."""
    from anil_tf.study import experiments

    if FLAGS.experiment == _ALL:
        wanted = [one.name for one in experiments.load_all() if one.in_all]
        return {name: _output() / name for name in wanted}
    return {FLAGS.experiment: _output()}


def _experiment(name: str) -> Any:
    from anil_tf.study import experiments

    return experiments.load(name)


def _identity(name: str) -> dict[str, str]:
    is_folder = FLAGS.dataset == "image_folder"
    dataset = f"image_folder {FLAGS.data_dir}" if is_folder else FLAGS.dataset
    return {"experiment": name, "scale": FLAGS.scale, "dataset": dataset}


def _about(name: str, cells: list[Any]) -> dict[str, Any]:
    """How an experiment was run: what repeats it, on which machine, with which code."""
    import pandas

    from anil_tf.evaluation import protocol
    from anil_tf.study import grid

    command = f"python bin/reproduce.py --experiment={name} --scale={FLAGS.scale}"
    if FLAGS["dataset"].value != FLAGS["dataset"].default:
        command += f" --dataset={FLAGS.dataset}"
    of_cells = sum(grid.read(cell, _output() / "cells")["seconds"] for cell in cells)
    return _identity(name) | {
        "command": f"{command} --output_dir=OUT",
        "seeds": len(_seeds(cells)),
        "cells": len(cells),
        "cell_seconds": round(of_cells, 1),
        "hardware": protocol.hardware(),
        "commit": protocol.commit(),
        "versions": protocol.software() | {"pandas": pandas.__version__},
    }


def _seeds(cells: list[Any]) -> set[int]:
    """The seeds of the cells, without the 0 of cells that draw nothing; smoke alone has a seed 0."""
    from anil_tf.study.scale import SCALES

    known = {seed for scale in (FLAGS.scale, "long") for seed in SCALES[scale].seeds}
    return {cell.settings.get("seed") for cell in cells} & known


def _read_about(folder: pathlib.Path) -> dict[str, Any]:
    from anil_tf.study import present

    return present.read_about(folder)


def _write_about(folder: pathlib.Path, about: dict[str, Any]) -> None:
    from anil_tf.study import present

    present.write_about(folder, about)


def _how_to_go_on() -> str:
    return "The same command goes on."


if __name__ == "__main__":
    launch(
        main,
        title=__doc__,
        groups=GROUPS,
        required=("experiment", "output_dir"),
        goes_on=_how_to_go_on,
    )
