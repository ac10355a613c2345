"""Times meta-steps, agrees on losses, and prints both: the same for every framework."""

from __future__ import annotations

import argparse
import json
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.gpu.exported import TOLERANCES, Facts


def parser(description: str) -> argparse.ArgumentParser:
    """The flags that every framework's script takes."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("exported", type=pathlib.Path, help="directory that export_step.py wrote")
    made.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="where to run")
    made.add_argument("--steps", type=int, default=50, help="meta-steps in a row per timing")
    made.add_argument("--repeats", type=int, default=20, help="timings; 0 compares losses only")
    return made


def seconds_per_step(run: Callable[[int], None], *, steps: int, repeats: int) -> dict[str, Any]:
    """Times meta-steps.

    Args:
        run: runs that many meta-steps and returns when the device is done with them.
        steps: in a row per timing, so that the device never waits for the clock.
        repeats: timings, after one that is discarded.

    Returns:
        `median`, `lower_quartile` and `upper_quartile` of the seconds per meta-step; `steps` and `repeats`.
    """
    run(steps)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run(steps)
        times.append((time.perf_counter() - start) / steps)
    lower, median, upper = (float(value) for value in np.percentile(times, [25, 50, 75]))
    quartiles = {"lower_quartile": lower, "median": median, "upper_quartile": upper}
    return quartiles | {"steps": steps, "repeats": repeats}


def report(
    facts: Facts, losses: Sequence[float], seconds: dict[str, Any] | None, about: dict[str, Any]
) -> int:
    """Prints what was found, and the same as one line of JSON at the end.

    Args:
        facts: of the exported meta-step.
        losses: of the first meta-steps here.
        seconds: as `seconds_per_step` returns it; None where nothing was timed.
        about: what ran where: `name`, `device`, `versions`.

    Returns:
        The exit status: 0, or 1 when the losses differ from those of the CPU by more than the tolerance of the
        precision, or are not numbers.
    """
    first, *later = (float(gap) for gap in np.abs(np.array(losses) - facts.losses))
    differences = [first, float(np.max([0.0, *later]))]
    tolerances = TOLERANCES[facts.precision]
    agrees = all(gap <= limit for gap, limit in zip(differences, tolerances, strict=True))
    print(f"{about['name']}, {facts.precision}, on {about['device']}")
    print("losses here           ", *(f"{loss:.7f}" for loss in losses))
    print("losses of TensorFlow  ", *(f"{loss:.7f}" for loss in facts.losses))
    print(
        f"largest difference     {differences[0]:.1e} in the first (tolerance {tolerances[0]:g}), {differences[1]:.1e} "
        f"after it (tolerance {tolerances[1]:g}): they {'agree' if agrees else 'DISAGREE'}"
    )
    if seconds:
        lower, median, upper = (
            1000 * seconds[name] for name in ("lower_quartile", "median", "upper_quartile")
        )
        print(
            f"time of a meta-step    {median:.3f} ms (median of {seconds['repeats']} times {seconds['steps']} "
            f"steps, quartiles {lower:.3f} to {upper:.3f})"
        )
    found = {"precision": facts.precision, "losses": list(losses), "differences": differences}
    print(json.dumps(about | found | {"agrees": agrees, "seconds": seconds}))
    return 0 if agrees else 1
