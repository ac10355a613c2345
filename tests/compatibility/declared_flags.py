"""Every flag that each command declares, as plain data: what flags_before.json is compared with."""

from __future__ import annotations

from typing import Any

from anil_tf.config import options
from anil_tf.config.commands import COMMANDS


def declared_flags(command: str) -> dict[str, dict[str, Any]]:
    """The flags of a command, in the order in which its --help shows them.

    Args:
      command: such as "train".

    Returns:
      Flag name to its `default` (as JSON holds it; None where a value must be given), `accepted` (in
      words) and `help`.
    """
    return {
        option.flag or name: {
            "default": None if option.default == "" else option.default,
            "accepted": option.accepted,
            "help": option.help,
        }
        for name, option in options(COMMANDS[command]).items()
    }
