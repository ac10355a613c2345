"""Searches settings of a training, or goes on with a search."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from anil_tf.commands import program, trial
from anil_tf.commands.trial import Trials
from anil_tf.config import InputError, Tune, flagfile, input_errors
from anil_tf.files import write_atomically
from anil_tf.tuning import NOT_INSTALLED, distributed, oracles, plots, results, search_space
from anil_tf.tuning.distributed import Role
from anil_tf.tuning.oracles import SearchOracle
from anil_tf.tuning.plots import StabilityLimit
from anil_tf.tuning.results import Row
from anil_tf.tuning.search import search
from anil_tf.tuning.search_directory import SearchDirectory
from anil_tf.tuning.search_space import HyperParameters
from anil_tf.tuning.table import Table

_MOST_TRIALS = 20  # where neither --trials nor --minutes is given


def tune(config: Tune) -> None:
    """Searches, or goes on, or says what was found; as chief or worker, if the environment says so.

    Args:
        config: what is searched, and the training that every trial is.

    Raises:
        InputError: for options or data that no trial can be made with, before anything is written.
        Stopped: after a signal, when the state is saved.
        RuntimeError: when no trial has ended well, or chief or workers do not come.
    """
    if config.tuner == "bayesian" and not importlib.util.find_spec("sklearn"):
        raise config.error(f"needs scikit-learn, {NOT_INSTALLED}", "tuner")
    try:
        role = distributed.role(os.environ)
    except ValueError as error:  # it names the variable
        raise InputError(str(error)) from error
    space = search_space.from_config(config)
    if role.kind == "worker":  # what the chief searches is known once it is there
        distributed.find_chief(role.address, config.chief_timeout)
    with input_errors(config, "output_dir"):
        directory = SearchDirectory(config.output_dir)
        directory.check(config)
    trials = Trials(config, directory, announces=role.kind == "worker")
    oracle = _oracle(config, space, role)
    run_trials = functools.partial(
        search,
        oracle,
        trials.run,
        directory=directory.search,
        role=role,
        timeout=config.chief_timeout,
    )
    if role.kind == "worker":
        run_trials()
        print("Worker done: the chief has no further trials.")
        return
    if not directory.exists:
        # Everything that can be wrong with the input is found before anything is written.
        trials.rehearse(search_space.probes(space, _given(config, space)))
        for note in notes(config, space):
            print(note, flush=True)
    with directory.held():
        with input_errors(config, "output_dir"):
            directory.check(config)  # once more: somebody may have begun meanwhile
        directory.prepare(config)
        read = functools.partial(_write_tables, config, directory, oracle)
        table = Table(read, space, functools.partial(_headline, config, role))
        try:
            run_trials(on_change=table.update)
        finally:
            read()
        rows = table.show_all()
        _draw(rows, directory, space, trials)
        if oracle.is_exhausted:
            print("The search ends here: every further setting that was drawn had been tried.")
        _conclude(directory, rows)


def how_to_go_on(config: Tune) -> str:
    """What a user types after a signal."""
    return "The same command goes on."


def _given(config: Tune, space: HyperParameters) -> dict[str, Any]:
    """The setting that the config itself has, in the searched ranges or not."""
    return {name: getattr(config, name) for name in search_space.names(space)}


def notes(config: Tune, space: HyperParameters) -> list[str]:
    """What a user may not expect of a new search, a line each."""
    lines = [
        f"No trial begins with --{name}={getattr(config, name)}, which lies outside of --search_{name}: "
        "the setting that the flags give is not tried."
        for name in search_space.outside(space, _given(config, space))
    ]
    epochs = trial.epochs(config)
    if config.tuner == "hyperband" and epochs < 3:
        lines.append(
            f"--tuner=hyperband searches at random: a trial of {epochs} epochs cannot be shortened; "
            "from --trial_epochs=3 on it can."
        )
    return lines


def _most_trials(config: Tune) -> int | None:
    return config.trials or (_MOST_TRIALS if config.minutes is None else None)


def _oracle(config: Tune, space: HyperParameters, role: Role) -> SearchOracle:
    seconds = None if config.minutes is None else 60 * config.minutes
    return oracles.make(
        config.tuner,
        space,
        budget=oracles.Budget(_most_trials(config), seconds),
        epochs=trial.epochs(config),
        seed=config.seed,
        first=_given(config, space),
        patience=config.chief_timeout,
        is_chief=role.kind == "chief",
    )


def _headline(config: Tune, role: Role, ended: int) -> str:
    most = _most_trials(config)
    of = f" of {most}" if most else ""
    until = f", no new one after {config.minutes:g} minutes" if config.minutes else ""
    where = f" (chief at {role.address})" if role.kind == "chief" else ""
    return f"{ended}{of} trials{until}, {config.tuner}{where}; best first:"


def _write_tables(config: Tune, directory: SearchDirectory, oracle: SearchOracle) -> list[Row]:
    """Writes trials.csv, and best.flags once a trial has ended well; returns the trials, best first."""
    rows = results.read(list(oracle.trials.values()), directory.runs, oracle.space)
    if rows:
        results.write_csv(rows, oracle.space, directory.file("trials.csv"))
    best = results.best(rows)
    if best and best.score:
        heading = (
            f"The best of {len(rows)} trials by {program.command('tune')}: trial {best.trial}, validation accuracy "
            f"{best.score}\nafter {best.score.epochs} epochs. What was searched: {', '.join(best.values)}.\n\n"
            f"Command:  {program.command('train')} --flagfile=THIS_FILE --run_dir=RUN_DIR\n"
        )
        flags = flagfile.text(trial.training(config, best.values), heading)
        write_atomically(directory.file("best.flags"), flags)
    return rows


def _draw(
    rows: Sequence[Row], directory: SearchDirectory, space: HyperParameters, trials: Trials
) -> None:
    """Draws accuracy.png and, where it says something, inner_loop.png; nothing before a trial has a score."""
    if not any(row.score for row in rows):
        return
    plots.draw_accuracies(rows, space, directory.file("accuracy.png"))
    if set(plots.INNER_LOOP) <= set(search_space.names(space)):
        limits = _limits(rows[0], directory, trials)
        plots.draw_inner_loop(rows, space, directory.file("inner_loop.png"), limits)


def _limits(first: Row, directory: SearchDirectory, trials: Trials) -> list[StabilityLimit]:
    """The limits before and after the training of the first of the trials; kept in landscape.json."""
    limits: list[StabilityLimit] = []
    path = directory.file("landscape.json")
    try:
        kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if kept.get("trial") == first.trial:
            return [StabilityLimit(**limit) for limit in kept["limits"]]
        limits.append(trials.stability_limit("before training", first.values))
        model = directory.runs / first.trial / "model.keras"
        if model.exists():
            limits.append(trials.stability_limit("after the best trial", first.values, model))
        content = {"trial": first.trial, "limits": [vars(limit) for limit in limits]}
        write_atomically(path, json.dumps(content, indent=1) + "\n")
    except Exception as error:  # for want of a line, no search of hours ends without its result
        why = " ".join(str(error).split())[:300] or type(error).__name__
        print(f"inner_loop.png lacks a stability limit: {why}", file=sys.stderr, flush=True)
    return limits


def _conclude(directory: SearchDirectory, rows: Sequence[Row]) -> None:
    """Says what was found, and what to do with it."""
    best = results.best(rows)
    if best is None:
        seen = ", ".join(f"{row.trial} {row.status}" for row in rows[:5])
        raise RuntimeError(
            f"no trial has ended well ({seen or 'none has begun'}); try lower step sizes."
        )
    values = ", ".join(f"{name}={value}" for name, value in best.values.items())
    settings = program.shown(directory.file("best.flags"))
    print(
        f"Finished: the best of {len(rows)} trials is {best.trial}, with a validation accuracy of "
        f"{best.score} at {values}. As the best of many it is flattered; test classes tell.\n"
        f"Next: {program.command('train')} --flagfile={settings} --run_dir=RUN_DIR"
    )
