"""Measures the library: python bin/benchmark.py --suite=input --output=FILE.json

Prints what was found and writes it to FILE.json with its spread, the hardware, the versions and the
commit. Suites: input = the time to draw tasks, as a share of the meta-step that uses them. Measure
on an idle machine; `benchmarks/NOTES.md` says what was found where.
"""

from __future__ import annotations

import json
import os

from launch import flags, launch

FLAGS = flags.FLAGS
GROUPS = ("benchmark",)


def main() -> int:
    """Runs the suite and writes its result."""
    path = _output()
    from benchmarks import input_share

    suites = {"input": input_share}
    suite = suites[FLAGS.suite]
    result = suite.measure()
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"suite": FLAGS.suite} | result, file, indent=2)
        file.write("\n")
    print(suite.sentence(result))
    return flags.EXIT_DONE


def _output() -> str:
    """The file to write, found fit before anything is measured."""
    path = FLAGS.output
    if not path or os.path.isdir(path) or not os.path.isdir(os.path.dirname(path) or "."):
        raise flags.InputError(
            f"--output: expected a file in a directory that exists, received {path or 'none'}."
        )
    return path


if __name__ == "__main__":
    launch(main, title=__doc__, groups=GROUPS)
