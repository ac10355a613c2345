"""Searches settings of a training: python bin/tune.py --flagfile=bin/presets/NAME.flags --output_dir=DIR

Each trial is a training as bin/train.py does it, with the flags given here but for those that are
searched; it is scored by its accuracy on the validation episodes, the same in every trial. DIR then
holds best.flags (a flagfile for train.py), trials.csv (best first), accuracy.png (against each
setting), inner_loop.png (inner step size x inner steps) and trials/, a run directory each. Ctrl-C
saves and exits with code 75; the same command goes on, after a kill too. In parallel: the same
command as chief and as workers, by KerasTuner's environment variables KERASTUNER_TUNER_ID (chief,
or a name), KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT.
"""

from __future__ import annotations

import functools
import os
import shlex
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import searched
import trial
from launch import flags, launch

if TYPE_CHECKING:
    from anil_tf.tuning.distributed import Role
    from anil_tf.tuning.oracles import SearchOracle
    from anil_tf.tuning.search_directory import SearchDirectory
    from anil_tf.tuning.search_space import SearchSpace
    from anil_tf.tuning.trials import Row

FLAGS, InputError, blamed_on = flags.FLAGS, flags.InputError, flags.blamed_on
GROUPS = ("tuning", *trial.TRAINING)
# What may change when a search goes on.
_CHANGEABLE = frozenset({"trials", "minutes", "output_dir", "chief_timeout"})


def main() -> int:
    """Searches, or goes on, or says what was found."""
    searched.require_packages()
    role = _role()
    searched.refuse()
    space = searched.space()
    if role.kind == "worker":  # what the chief searches is known once it is there
        from anil_tf.tuning import distributed

        distributed.find_chief(role.address, FLAGS.chief_timeout)
    directory = _directory()
    trials = trial.Trials(directory, says_what=role.kind == "worker")
    if not role.writes:
        _search(directory, space, trials, role)
        print("Worker done: the chief has no further trials.")
        return flags.EXIT_DONE
    if not directory.exists:
        # Everything that can be wrong with the input is found before anything is written.
        trials.rehearse(space.probes(searched.given(space)))
        for note in searched.notes(space, trial.trial_epochs()):
            print(note, flush=True)
    with directory.held():
        _check(directory)  # once more: somebody may have begun meanwhile
        directory.prepare(_identity())
        return _lead(directory, space, trials, role)


# ---- Flags -----------------------------------------------------------------------------------------------------------


def _role() -> Role:
    from anil_tf.tuning import distributed

    try:
        return distributed.role(os.environ)
    except ValueError as error:  # it names the variable
        raise InputError(str(error)) from error


def _directory() -> SearchDirectory:
    """The search directory, checked against the flags."""
    from anil_tf.tuning.search_directory import SearchDirectory

    with blamed_on("output_dir"):
        directory = SearchDirectory(FLAGS.output_dir)
    _check(directory)
    return directory


def _check(directory: SearchDirectory) -> None:
    with blamed_on("output_dir"):
        directory.check(_identity(), flags.defaults(GROUPS))


def _identity() -> dict[str, str]:
    """The flags that make the search what it is."""
    lines = flags.settings(GROUPS)
    return {name: line for name, line in lines.items() if name not in _CHANGEABLE}


# ---- The search ------------------------------------------------------------------------------------------------------


def _lead(directory: SearchDirectory, space: SearchSpace, trials: trial.Trials, role: Role) -> int:
    """Searches, and shows, writes and draws what was found."""
    from anil_tf.tuning import report

    read = functools.partial(report.write_tables, directory, space, _training)
    table = report.Table(read, space, functools.partial(_headline, role))
    try:
        oracle = _search(directory, space, trials, role, on_change=table.update)
    finally:
        read()
    rows = table.show_all()
    report.draw(rows, directory, space, functools.partial(trial.stability_limit, trials))
    if oracle.is_exhausted:
        print("The search ends here: every further setting that was drawn had been tried.")
    return _conclude(directory, rows)


def _search(
    directory: SearchDirectory,
    space: SearchSpace,
    trials: trial.Trials,
    role: Role,
    **options: Any,
) -> SearchOracle:
    from anil_tf.training import Stopped
    from anil_tf.tuning import oracles, search

    oracle = oracles.make(
        FLAGS.tuner,
        space,
        budget=searched.budget(),
        epochs=trial.trial_epochs(),
        seed=FLAGS.seed,
        first=searched.given(space),
        patience=FLAGS.chief_timeout,
        is_chief=role.kind == "chief",
    )
    search.search(
        oracle,
        trials.run,
        directory=directory.search,
        role=role,
        timeout=FLAGS.chief_timeout,
        ends_the_search=(Stopped,),
        **options,
    )
    return oracle


def _training(values: Mapping[str, Any]) -> Collection[str]:
    """Flagfile lines of a training of full length with the values of a trial."""
    with trial.flags_set(values):
        return flags.settings(trial.TRAINING).values()


def _headline(role: Role, ended: int) -> str:
    budget = searched.budget()
    of = f" of {budget.trials}" if budget.trials else ""
    until = f", no new one after {FLAGS.minutes:g} minutes" if FLAGS.minutes else ""
    where = f" (chief at {role.address})" if role.kind == "chief" else ""
    return f"{ended}{of} trials{until}, {FLAGS.tuner}{where}; best first:"


def _conclude(directory: SearchDirectory, rows: Sequence[Row]) -> int:
    """Says what was found, and what to do with it."""
    from anil_tf.tuning import report, trials

    best = trials.best(rows)
    if best is None:
        seen = ", ".join(f"{row.name} {row.status}" for row in rows[:5])
        raise RuntimeError(
            f"no trial has ended well ({seen or 'none has begun'}); try lower step sizes."
        )
    values = ", ".join(f"{name}={value}" for name, value in best.values.items())
    settings = shlex.quote(os.path.relpath(directory.file("best.flags")))
    print(
        f"Finished: the best of {len(rows)} trials is {best.name}, with a validation accuracy of "
        f"{report.score(best)} at {values}. As the best of many it is flattered; test classes tell.\n"
        f"Next: python bin/train.py --flagfile={settings} --run_dir=RUN_DIR"
    )
    return flags.EXIT_DONE


def _how_to_go_on() -> str:
    return "The same command goes on."


if __name__ == "__main__":
    if "KERASTUNER_ORACLE_IP" in os.environ:  # workers may share one accelerator
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    launch(main, title=__doc__, groups=GROUPS, required=("output_dir",), goes_on=_how_to_go_on)
