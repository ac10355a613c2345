"""Every flag that each command declares, as plain data: what flags_before.json is compared with."""

from __future__ import annotations

from typing import Any

from anil_tf.flags import GROUPS

# The groups of flags of each command; where two hold the same flag, the first decides.
_GROUPS_OF = {
    "train": ("data", "learner", "outer_loop", "run"),
    "evaluate": ("evaluation", "run", "data", "learner", "outer_loop"),
    "tune": ("tuning", "data", "learner", "outer_loop"),
    "export": ("export", "data", "learner", "outer_loop"),
    "demo": ("demo",),
    "reproduce": ("study",),
    "benchmark": ("benchmark",),
}


def declared_flags(command: str) -> dict[str, dict[str, Any]]:
    """The flags of a command, in the order in which its --help shows them.

    Args:
      command: such as "train".

    Returns:
      Flag name to its `default` (as JSON holds it), `accepted` (in words) and `help`.
    """
    declared: dict[str, dict[str, Any]] = {}
    for group in _GROUPS_OF[command]:
        for flag in GROUPS[group].flags:
            entry = {"default": flag.default, "accepted": flag.parser.accepted, "help": flag.help}
            declared.setdefault(flag.name, entry)
    return declared
