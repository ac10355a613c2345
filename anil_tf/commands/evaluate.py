"""Evaluates a finished run: accuracy with its interval, and the whole protocol."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from anil_tf import build
from anil_tf.commands.finished_run import FinishedRun
from anil_tf.commands.program import name_in_errors
from anil_tf.config import Evaluate
from anil_tf.config.finished_run import refuse_another_class_split
from anil_tf.evaluation import Comparison, Evaluation, calibration, card, compare, protocol
from anil_tf.evaluation import evaluate as measure

# Of these two evaluations differ always, whatever their protocols.
_NO_DIFFERENCE = ("evaluation_seconds",)


def evaluate(config: Evaluate) -> None:
    """Evaluates, prints a table and one JSON object, and records the result in the run.

    Args:
        config: the run, its tasks, and what adaptation does otherwise than in training.

    Raises:
        InputError: for what is no finished run, and for options that this run cannot have.
    """
    run = FinishedRun(config.run_dir)
    other_run = FinishedRun(config.compare, "compare") if config.compare is not None else None
    if other_run is not None:
        refuse_another_class_split(config, other_run.settings, "compare")
    build.seed(config)
    tasks = build.make_tasks(config, config.split, ways=config.ways, augment=False)
    evaluation, described = _measure(config, run, tasks)
    record = _result(evaluation, described)
    result = dict(record)
    if other_run is not None:
        other, other_described = _measure(config, other_run, tasks)
        result["comparison"] = _comparison(
            other_run, compare(evaluation, other), other, described, other_described
        )
    _print_table(result)
    print(card.dumps(result), flush=True)
    _record(config, record)


def _measure(config: Evaluate, run: FinishedRun, tasks: Any) -> tuple[Evaluation, dict[str, Any]]:
    """The evaluation of a run, and its protocol."""
    learner = run.learner(config, tasks)
    evaluation = measure(
        learner, tasks, episodes=config.episodes, jit_compile=config.jit_compile == "on"
    )
    described = run.protocol(
        learner, tasks, episodes=evaluation.episodes, seconds=evaluation.seconds
    )
    return evaluation, described


def _result(evaluation: Evaluation, described: dict[str, Any]) -> dict[str, Any]:
    """The numbers with their protocol, as they are printed and recorded."""
    return {
        evaluation.metric: evaluation.value,
        "ci95": evaluation.ci95,
        "loss": evaluation.loss,
        "ece": evaluation.ece,
        "episodes": evaluation.episodes,
        "seconds": evaluation.seconds,
        "protocol": described,
    }


def _record(config: Evaluate, record: dict[str, Any]) -> None:
    """Adds the result to the run; the numbers are out, so that failing here is no failure."""
    try:
        card.add_evaluation(config.run_dir, record)
    except OSError as error:
        warning = f"warning: this evaluation is not recorded: {error}"
        print(f"{name_in_errors('evaluate')}: {warning}", file=sys.stderr)


def _comparison(
    other_run: FinishedRun,
    comparison: Comparison,
    other: Evaluation,
    here: dict[str, Any],
    there: dict[str, Any],
) -> dict[str, Any]:
    differing = [name for name in here if here[name] != there.get(name)]
    return {
        "run_dir": other_run.directory,
        other.metric: other.value,
        "difference": comparison.difference,
        "ci95": comparison.ci95,
        "episodes": comparison.episodes,
        "differing": [name for name in differing if name not in _NO_DIFFERENCE],
        "protocol": there,
    }


def _print_table(result: dict[str, Any]) -> None:
    lines = [*_result_rows(result), ("", ""), *protocol.rows(result["protocol"])]
    width = max(len(name) for name, _ in lines)
    print("\n".join(f"{name:<{width}}  {value}".rstrip() for name, value in lines))


def _result_rows(result: dict[str, Any]) -> Iterator[tuple[str, str]]:
    regression = "mse" in result
    yield "result" if regression else "accuracy", card.score(result) + " (95 % interval)"
    if not regression:
        yield "loss", f"{result['loss']:.4f} nats"
        yield (
            "calibration error",
            f"{100 * result['ece']:.2f} % (expected, {calibration.BINS} bins)",
        )
    if "comparison" in result:
        other = result["comparison"]
        scale, unit = (1.0, "") if regression else (100.0, " percentage points")
        excludes = abs(other["difference"]) > other["ci95"]
        yield other["run_dir"], card.score({key: other[key] for key in other if key != "ci95"})
        yield (
            "paired difference",
            f"{scale * other['difference']:+.4g} ± {scale * other['ci95']:.2g}{unit}; "
            f"the interval {'leaves out' if excludes else 'holds'} 0",
        )
        names = ", ".join(name.replace("_", " ") for name in other["differing"])
        yield "protocols differ in", names or "nothing"
