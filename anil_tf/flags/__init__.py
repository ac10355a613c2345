"""Every command-line flag, in groups, with its help, its accepted values and its checks.

Read in this order:

    groups/         the flags themselves, as tables: what a user can say
    description.py  one flag as data, and the functions that the tables are written with
    parsers.py      what a flag accepts
    defining.py     groups declared to absl, and their --help
    flagfile.py     a run's flags as lines: written, read back, compared, gone on from
    errors.py       what is said when something is wrong, and the exit codes

A binary declares the groups it uses with `define`; `bin/launch.py` parses them, and loads this room
without the rest of the house. Nothing here imports TensorFlow, or anything of `anil_tf` from outside
this room, so `--help` and a mistyped flag are answered at once.
"""

from absl.flags import FLAGS

from anil_tf.flags.defining import define, usage
from anil_tf.flags.errors import (
    EXIT_BAD_INPUT,
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_STOPPED,
    InputError,
    blamed_on,
    explain,
)
from anil_tf.flags.flagfile import defaults, defaults_from_run, read_settings, settings
from anil_tf.flags.groups import GROUPS
from anil_tf.flags.parsers import Choices, Range

__all__ = [
    "EXIT_BAD_INPUT",
    "EXIT_DONE",
    "EXIT_FAILED",
    "EXIT_STOPPED",
    "FLAGS",
    "GROUPS",
    "Choices",
    "InputError",
    "Range",
    "blamed_on",
    "define",
    "defaults",
    "defaults_from_run",
    "explain",
    "read_settings",
    "settings",
    "usage",
]
