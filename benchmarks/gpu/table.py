"""The table of the GPU benchmark: pure functions from results to Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

# How many times the throughput of PyTorch's loop, and of its vmap, is aimed at.
GOALS = {"loop": 10.0, "vmap": 2.0}

Result = dict[str, Any]


def median(result: Result) -> float:
    """Seconds per meta-step; infinite for a program that failed or whose losses differ.

    Args:
        result: what a program printed, with `way`, `precision`, `commit` and `settings`.
    """
    usable = result["agrees"] and result["seconds"]
    return result["seconds"]["median"] if usable else math.inf


def sentence(result: Result) -> str:
    """What came of one program, in a line."""
    if "error" in result:
        return f"failed: {result['error']}"
    agreement = "losses agree" if result["agrees"] else "LOSSES DIFFER"
    return f"{result['name']}, {result['precision']}: {_time(result)} ms, {agreement}"


def markdown(results: Sequence[Result], machine: dict[str, str]) -> str:
    """All results, precision by precision, with the goals.

    Args:
        results: in the order in which the programs ran.
        machine: facts about where they ran.
    """
    about = dict(machine)
    for result in results:
        about |= {name: str(version) for name, version in result.get("versions", {}).items()}
    commits = sorted({result["commit"] for result in results})
    lines = ["# The meta-step on a GPU: the exported program and PyTorch", ""]
    lines += [f"* {name}: {value}" for name, value in about.items()]
    lines += [f"* commit: {', '.join(commits)}", f"* meta-step: {_setting(results)}"]
    for precision in dict.fromkeys(result["precision"] for result in results):
        of_precision = [result for result in results if result["precision"] == precision]
        lines += ["", *_section(precision, of_precision)]
    return "\n".join(lines) + "\n"


def _section(precision: str, results: Sequence[Result]) -> list[str]:
    ours = min(
        (median(result) for result in results if result["way"] == "stablehlo"), default=math.inf
    )
    return [
        f"## {precision}",
        "",
        "| program | ms per meta-step (quartiles) | tasks per second | StableHLO is faster "
        "| losses differ: first, later |",
        "|---|---|---|---|---|",
        *(_row(result, ours) for result in results),
        "",
        *(_verdict(way, compiled, results, ours) for way in GOALS for compiled in (False, True)),
    ]


def _row(result: Result, ours: float) -> str:
    if "error" in result:
        return f"| {' '.join(result['command'][2:])} | failed: {result['error']} | | | |"
    differences = ", ".join(f"{gap:.0e}" for gap in result["differences"])
    if not result["agrees"]:
        return f"| {result['name']} | not counted: losses differ | | | {differences} |"
    rate = result["settings"]["tasks"] / median(result)
    is_compared = result["way"] != "stablehlo" and not math.isinf(ours)
    ratio = f"{median(result) / ours:.2f} times" if is_compared else ""
    return f"| {result['name']} | {_time(result)} | {rate:,.0f} | {ratio} | {differences} |"


def _is(result: Result, way: str, compiled: bool) -> bool:
    return result["way"] == way and (result.get("compile", "none") != "none") == compiled


def _verdict(way: str, compiled: bool, results: Sequence[Result], ours: float) -> str:
    """The goal for one way of PyTorch, against the fastest of its programs."""
    how = "under torch.compile" if compiled else "eager"
    said = f"* {GOALS[way]:g} times the throughput of {way}, {how}: "
    fastest = min((r for r in results if _is(r, way, compiled)), key=median, default=None)
    if fastest is None or math.isinf(median(fastest)) or math.isinf(ours):
        return said + "not measured"
    ratio = median(fastest) / ours
    verdict = "met" if ratio >= GOALS[way] else "missed"
    return said + f"{ratio:.2f} times the fastest ({fastest['name']}), {verdict}"


def _time(result: Result) -> str:
    if not result["seconds"]:
        return "not timed"
    milliseconds = {name: 1000 * result["seconds"][name] for name in _QUARTILES}
    return "{median:.3f} ({lower_quartile:.3f} to {upper_quartile:.3f})".format(**milliseconds)


def _setting(results: Sequence[Result]) -> str:
    said = {", ".join(f"{k} {v}" for k, v in r["settings"].items()) for r in results}
    return "; ".join(sorted(said)).replace("_", " ")


_QUARTILES = ("lower_quartile", "median", "upper_quartile")
