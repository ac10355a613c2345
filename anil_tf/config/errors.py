"""Bad input, said in one line that names the options; and the exit codes of every command."""

from __future__ import annotations

from collections.abc import Mapping

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_STOPPED = 75


class InputError(ValueError):
    """Bad options or bad input: one line, exit code 2.

    Args:
        text: what is wrong, what is expected, and how to mend it.
        options: name to value, as text, of the options that the text is about; "" shows the name alone.

    Example:
        >>> str(InputError("expected an integer of at least 1.", {"shots": "0"}))
        'shots=0: expected an integer of at least 1.'
    """

    def __init__(self, text: str, options: Mapping[str, str] | None = None):
        self.text = " ".join(text.split())
        self.options = dict(options or {})
        super().__init__(self._line(""))

    def on_command_line(self) -> str:
        """The same with options written as flags."""
        return self._line("--")

    def _line(self, dashes: str) -> str:
        if not self.options:
            return self.text
        named = " ".join(
            f"{dashes}{name}={value}" if value else f"{dashes}{name}"
            for name, value in self.options.items()
        )
        return f"{named}: {self.text}"
