"""What was found: verdicts, pictures and a report from the table of a folder, and the page over all folders.

A folder holds results.csv and about.json, which says of what they are results; nothing here runs a cell.
"""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any

from anil_tf.files import write_atomically
from anil_tf.study import claims, experiments, figures, page, report, results
from anil_tf.study.page import Section
from anil_tf.study.scale import SCALES


def folders(directory: pathlib.Path) -> list[pathlib.Path]:
    """Folders in a directory that hold a table of an experiment, in the order of the story, short scales first."""
    orders = {one.name: one.order for one in experiments.load_all()}
    scales = [*SCALES]
    found = {}
    for folder in directory.glob("*/"):
        about = read_about(folder)
        if about.get("experiment") in orders and (folder / "results.csv").exists():
            place = orders[about["experiment"]], scales.index(about["scale"]), about["dataset"]
            found[folder] = (*place, folder.name)
    return sorted(found, key=found.__getitem__)


def present(folder: pathlib.Path, page_directory: pathlib.Path) -> Section:
    """Judges, draws and reports the table in a folder: claims.json, the pictures and report.md.

    Args:
        folder: with results.csv and about.json.
        page_directory: where the page over several folders is; links are written from there.
    """
    about = read_about(folder)
    experiment = experiments.load(about["experiment"])
    frame = results.read(folder / "results.csv")
    outcomes = [claim.judge(frame) for claim in experiment.claims]
    claims.write(outcomes, experiment.name, folder / "claims.json")
    pictures = []
    for picture in experiment.pictures:
        panels = picture.panels(frame)
        if panels:
            file = folder / picture.file
            figures.draw(panels, file, title=picture.title, columns=picture.columns)
            pictures.append(picture)
    tables = [table for make in experiment.tables if (table := make(frame)) is not None]
    facts = _facts(about) | results.sizes(frame)
    text = report.render(experiment, outcomes, pictures, tables, facts)
    write_atomically(folder / "report.md", text)
    return Section(experiment, outcomes, pictures, facts, os.path.relpath(folder, page_directory))


def write_page(directory: pathlib.Path, sections: list[Section]) -> None:
    """Writes README.md, the page over sections from `present`."""
    text = page.render(sections, _facts(read_about(directory)))
    write_atomically(directory / "README.md", text)


def read_about(folder: pathlib.Path) -> dict[str, Any]:
    """What about.json says; nothing if it is missing."""
    path = folder / "about.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def write_about(folder: pathlib.Path, about: dict[str, Any]) -> None:
    """Writes about.json; what is already known there and not said again stays."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(read_about(folder) | about, indent=2) + "\n"
    write_atomically(folder / "about.json", text)


def _facts(about: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in about.items() if key != "experiment"}
