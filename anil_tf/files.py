"""Files that a reader, or a kill, meets whole."""

from __future__ import annotations

import os


def write_atomically(path: str | os.PathLike[str], text: str) -> None:
    """Writes a text file so that a reader, or a kill, meets the old or the new one, never half.

    Args:
      path: the file; an existing one is replaced.
      text: what it is to hold, with its own line ends.

    Raises:
      OSError: if the folder cannot be written to; the old file is left as it was.
    """
    temporary = f"{os.fspath(path)}.tmp"
    with open(temporary, "w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
