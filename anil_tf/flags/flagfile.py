"""A run's flags as the lines of a flagfile: what a run is made of, written, read back and compared.

`settings` gives the lines of the command line at hand, and `defaults` those of none at all;
`read_settings` reads the flags.txt of a run, and `defaults_from_run` goes on from it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from absl.flags import FLAGS

from anil_tf.flags.defining import absl_flag
from anil_tf.flags.description import Flag
from anil_tf.flags.errors import InputError
from anil_tf.flags.groups import GROUPS
from anil_tf.flags.parsers import BooleanParser

# Flags that say how or where a command runs, not what the run is: they are no part of a run.
_NOT_PART_OF_A_RUN = frozenset({"overwrite", "verbosity", "flagfile"})
_DIRECTORIES = frozenset({"run_dir", "data_dir"})


def settings(groups: Sequence[str]) -> dict[str, str]:
    """The flags that make a run what it is, in the form of a flagfile's lines.

    Args:
      groups: the groups to take.

    Returns:
      Flag name to line, such as {"ways": "--ways=5", "augment": "--noaugment"}; flags without a
      value are left out, and so are those that are no part of a run (such as --overwrite).
      Directories are absolute, so that the lines mean the same wherever they are read.
    """
    lines = {}
    for flag in _of_a_run(groups):
        if flag.name in _DIRECTORIES:
            lines[flag.name] = _directory_line(flag.name, FLAGS[flag.name].value)
        else:
            lines[flag.name] = FLAGS[flag.name].serialize()
    return {name: line for name, line in lines.items() if line}


def defaults(groups: Sequence[str]) -> dict[str, str]:
    """What `settings` returns where no flag is given.

    Args:
      groups: the groups to take.
    """
    lines = {flag.name: absl_flag(flag).serialize() for flag in _of_a_run(groups)}
    return {name: line for name, line in lines.items() if line}


def _of_a_run(groups: Sequence[str]) -> list[Flag]:
    declared = [flag for group in groups for flag in GROUPS[group].flags]
    return [flag for flag in declared if flag.name not in _NOT_PART_OF_A_RUN]


def _directory_line(name: str, value: str | None) -> str:
    if value is None:
        return ""
    is_remote = "://" in value  # such as gs://bucket, which TFDS reads
    return f"--{name}={value if is_remote else os.path.abspath(os.path.expanduser(value))}"


def read_settings(path: str | os.PathLike[str]) -> dict[str, str]:
    """Reads a run's flags.txt, which holds what `settings` returned.

    Args:
      path: the file.

    Returns:
      Flag name to line, such as {"ways": "--ways=5", "augment": "--noaugment"}.
    """
    with open(path, encoding="utf-8") as file:
        lines = [line.strip() for line in file if line.startswith("--")]
    return {_name_in(line): line for line in lines}


def _name_in(line: str) -> str:
    """The flag that a flagfile's line sets; --noaugment is the flag augment."""
    name = line.removeprefix("--").partition("=")[0]
    flags = {flag.name: flag for group in GROUPS.values() for flag in group.flags}
    positive = flags.get(name.removeprefix("no"))
    is_negation = name not in flags and positive and isinstance(positive.parser, BooleanParser)
    return name.removeprefix("no") if is_negation else name


def defaults_from_run(run_dir: str | os.PathLike[str]) -> None:
    """Takes a run's flags for every flag that the command line left at its default.

    Args:
      run_dir: a run directory with a `flags.txt`.

    Raises:
      InputError: if there is no such file.
    """
    path = os.path.join(run_dir, "flags.txt")
    if not os.path.isfile(path):
        raise InputError(
            f"--run_dir={run_dir}: expected a run directory with a flags.txt, found none; "
            "bin/train.py makes one."
        )
    chosen = {name for name in FLAGS if FLAGS[name].present}
    for name, line in read_settings(path).items():
        _, has_value, value = line.partition("=")
        if not has_value:
            value = "false" if line == f"--no{name}" else "true"
        # The directory may have been moved or copied since: the one given is the one meant.
        if name in FLAGS and name not in chosen and name != "run_dir":
            FLAGS[name].value = FLAGS[name].parser.parse(value)
