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

import contextlib
import json
import os
import shlex
import sys
from collections.abc import Iterator
from typing import Any

import trial
from launch import flags, launch

FLAGS, InputError, blamed_on = flags.FLAGS, flags.InputError, flags.blamed_on
GROUPS = ("tuning", *trial.TRAINING)
# What may change when a search goes on.
_CHANGEABLE = frozenset({"trials", "minutes", "output_dir", "chief_timeout"})
_MOST_TRIALS = 20  # where neither --trials nor --minutes is given
_ROWS = 10  # of the table while the search goes on
_INNER_LOOP = ("inner_step_size", "inner_steps")
_DEFAULT_SEARCH = {
    "inner_step_size": (0.01, 1.0),
    "inner_steps": (1, 20),
    "outer_step_size_body": (1e-4, 1e-2),
}


def main() -> int:
    """Searches, or goes on, or says what was found."""
    from anil_tf.tuning import distributed, oracles, search
    from anil_tf.tuning.search_directory import SearchDirectory

    with _environment_blamed():
        role = distributed.role(os.environ)
    _check_flags()
    space = _space()
    if role.kind == "worker":  # what the chief searches is known once it is there
        distributed.find_chief(role.address, FLAGS.chief_timeout)
    with blamed_on("output_dir"):
        directory = SearchDirectory(FLAGS.output_dir)
        directory.check(_identity(), flags.defaults(GROUPS))
    trials = trial.Trials(directory, says_what=role.kind == "worker")
    if role.writes:
        directory.prepare(_identity())
    show = _Table(directory, space, role)
    oracle = oracles.make(
        FLAGS.tuner,
        space,
        budget=_budget(),
        epochs=trial.trial_epochs(),
        seed=FLAGS.seed,
        first={name: FLAGS[name].value for name in space.names},
        patience=FLAGS.chief_timeout,
        is_chief=role.kind == "chief",
    )
    try:
        search.search(
            oracle,
            trials.run,
            directory=directory.search,
            role=role,
            timeout=FLAGS.chief_timeout,
            ends_the_search=(_stopped(), InputError),
            on_change=show if role.writes else lambda: None,
        )
    finally:
        if role.writes:
            _write_tables(directory, space)
    if role.writes:
        return _report(directory, space, trials, show)
    print("Worker done: the chief has no further trials.")
    return flags.EXIT_DONE


# ---- Flags -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _environment_blamed() -> Iterator[None]:
    """Makes bad input of a wrong environment variable, which its message names."""
    try:
        yield
    except ValueError as error:
        raise InputError(str(error)) from error


def _stopped() -> type[Exception]:
    from anil_tf.training import Stopped

    return Stopped


def _check_flags() -> None:
    """Refuses what cannot be searched, before anything begins."""
    refused = {
        "strategy": (
            FLAGS.strategy == "multi_worker",
            "a search has chief and workers of its own; expected none or mirrored.",
        ),
        "search_filters": (
            bool(FLAGS.search_filters) and FLAGS.body not in ("conv4", "smooth_conv4", "mlp"),
            f"--body={FLAGS.body} has no --filters; expected another --body.",
        ),
        "search_first_order": (
            FLAGS.search_first_order and FLAGS.differentiation in ("implicit", "truncated"),
            f"the same as --differentiation=first_order, received with --differentiation="
            f"{FLAGS.differentiation}; expected one of the two.",
        ),
    }
    for name in _INNER_LOOP:
        given = FLAGS[f"search_{name}"].value is not None
        refused[f"search_{name}"] = (
            given and not _has_inner_loop(),
            f"--head={FLAGS.head} --differentiation={FLAGS.differentiation} has no inner steps of a "
            "given size; expected another of the two, or other searched settings.",
        )
    for name, (is_wrong, why) in refused.items():
        if is_wrong:
            raise InputError(f"{FLAGS[name].serialize()}: {why}")
    if FLAGS.trial_epochs and FLAGS.trial_epochs > FLAGS.epochs:
        raise InputError(
            f"--trial_epochs={FLAGS.trial_epochs}: expected at most --epochs={FLAGS.epochs}."
        )


def _has_inner_loop() -> bool:
    return FLAGS.head not in ("ridge", "nil") and FLAGS.differentiation != "implicit"


def _space() -> Any:
    """The settings that are searched."""
    from anil_tf.tuning.search_space import Choice, Interval, SearchSpace

    ranges = {
        name: FLAGS[f"search_{name}"].value
        for name in (*_INNER_LOOP, "inner_l2", "outer_step_size_body", "outer_step_size_head")
    }
    given = {name: range for name, range in ranges.items() if range is not None}
    if not given and not FLAGS.search_first_order and not FLAGS.search_filters:
        given = {
            name: range
            for name, range in _DEFAULT_SEARCH.items()
            if _has_inner_loop() or name not in _INNER_LOOP
        }
    settings: list[Any] = [
        Interval(name, *range, whole=name == "inner_steps") for name, range in given.items()
    ]
    if FLAGS.search_first_order:
        settings.append(Choice("first_order", (False, True)))
    if FLAGS.search_filters:
        settings.append(Choice("filters", tuple(FLAGS.search_filters)))
    return SearchSpace(settings)


def _budget() -> Any:
    from anil_tf.tuning.oracles import Budget

    seconds = None if FLAGS.minutes is None else 60 * FLAGS.minutes
    by_default = _MOST_TRIALS if seconds is None else None
    return Budget(FLAGS.trials or by_default, seconds)


def _identity() -> dict[str, str]:
    """The flags that make the search what it is."""
    lines = flags.settings(GROUPS)
    return {name: line for name, line in lines.items() if name not in _CHANGEABLE}


# ---- What was found --------------------------------------------------------------------------------------------------


class _Table:
    """Shows the trials, best first, whenever one has begun or ended.

    Args:
        directory: of the search.
        space: what is searched.
        role: of this process.
    """

    def __init__(self, directory: Any, space: Any, role: Any):
        self._directory, self._space, self._role = directory, space, role
        self._shown: list[Any] = []

    def __call__(self) -> None:
        """Shows and writes what has changed."""
        from anil_tf.tuning import trials

        rows = _write_tables(self._directory, self._space)
        ended = [row for row in rows if row.status != "running"]
        live = sys.stdout.isatty()
        if rows == self._shown or not (live or ended and len(ended) != self._ended):
            return
        self._shown = rows
        if live:  # in place of the table before
            print("\033[2J\033[H", end="")
        print(
            f"{self._headline(len(ended))}\n{trials.table(rows, self._space, _ROWS)}\n", flush=True
        )

    def all(self, rows: list[Any]) -> None:
        """Shows every trial, unless that has just been done."""
        from anil_tf.tuning import trials

        if rows != self._shown or len(rows) > _ROWS:
            print(trials.table(rows, self._space))

    @property
    def _ended(self) -> int:
        return sum(row.status != "running" for row in self._shown)

    def _headline(self, ended: int) -> str:
        budget = _budget()
        of = f" of {budget.trials}" if budget.trials else ""
        until = f", no new one after {FLAGS.minutes:g} minutes" if FLAGS.minutes else ""
        where = f" (chief at {self._role.address})" if self._role.kind == "chief" else ""
        return f"{ended}{of} trials{until}, {FLAGS.tuner}{where}; best first:"


def _write_tables(directory: Any, space: Any) -> list[Any]:
    """Writes trials.csv and best.flags; returns the trials, best first."""
    from anil_tf.tuning import trials

    rows = trials.read(directory.search, directory.runs, space)
    trials.write_csv(rows, space, directory.file("trials.csv"))
    best = trials.best(rows)
    if best is not None:
        _write_best(directory, best, len(rows))
    return rows


def _write_best(directory: Any, best: Any, count: int) -> None:
    """Writes best.flags, which repeats the best setting in a training of full length."""
    from anil_tf.files import write_atomically

    with trial.flags_set(best.values):
        lines = list(flags.settings(trial.TRAINING).values())
    head = [
        f"# The best of {count} trials by bin/tune.py: trial {best.name}, validation accuracy "
        f"{100 * best.accuracy:.2f} ± {100 * best.ci95:.2f} %",
        f"# after {best.epochs:.0f} epochs. What was searched: {', '.join(best.values)}.",
        "#",
        "# Command:  python bin/train.py --flagfile=THIS_FILE --run_dir=RUN_DIR",
        "",
    ]
    write_atomically(directory.file("best.flags"), "\n".join([*head, *lines]) + "\n")


def _report(directory: Any, space: Any, runs: trial.Trials, show: _Table) -> int:
    """Draws the pictures and says what was found."""
    from anil_tf.tuning import plots, trials

    rows = _write_tables(directory, space)
    show.all(rows)
    best = trials.best(rows)
    if best is None:
        seen = ", ".join(f"{row.name} {row.status}" for row in rows[:5])
        raise RuntimeError(
            f"no trial has ended well ({seen or 'none has begun'}); try lower step sizes."
        )
    plots.draw_accuracies(rows, space, directory.file("accuracy.png"))
    limits = _limits(directory, best, runs) if set(_INNER_LOOP) <= set(space.names) else []
    plots.draw_inner_loop(rows, space, directory.file("inner_loop.png"), limits)
    values = ", ".join(f"{name}={value}" for name, value in best.values.items())
    settings = shlex.quote(os.path.relpath(directory.file("best.flags")))
    print(
        f"Finished: the best of {len(rows)} trials is {best.name}, with a validation accuracy of "
        f"{100 * best.accuracy:.2f} ± {100 * best.ci95:.2f} % at {values}. As the best of many it is "
        "flattered; test classes tell.\n"
        f"Next: python bin/train.py --flagfile={settings} --run_dir=RUN_DIR"
    )
    return flags.EXIT_DONE


def _limits(directory: Any, best: Any, trials: trial.Trials) -> list[Any]:
    """The largest stable inner step size, before and after the training of the best trial; kept in landscape.json."""
    from anil_tf.files import write_atomically
    from anil_tf.tuning.plots import StabilityLimit

    path = directory.file("landscape.json")
    if path.exists():
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["trial"] == best.name:
            return [StabilityLimit(**limit) for limit in kept["limits"]]
    limits = [trial.stability_limit("at first", best.values, trials)]
    model = directory.runs / best.name / "model.keras"
    if model.exists():
        after = trial.stability_limit("after the best trial", best.values, trials, model)
        limits.append(after)
    content = {"trial": best.name, "limits": [vars(limit) for limit in limits]}
    write_atomically(path, json.dumps(content, indent=1) + "\n")
    return limits


def _how_to_go_on() -> str:
    return "The same command goes on."


if __name__ == "__main__":
    if "KERASTUNER_ORACLE_IP" in os.environ:  # workers may share one accelerator
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    launch(main, title=__doc__, groups=GROUPS, required=("output_dir",), goes_on=_how_to_go_on)
