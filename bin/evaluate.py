"""Evaluates a finished run: python bin/evaluate.py --run_dir=DIR --split=test --episodes=1000

Ways, shots, queries, inner steps and step size, inner_l2, normalization, data set and batch are
those of the run unless they are given here; the tasks are drawn with --seed, which is 0 here
whatever the training's was. Prints a table with the whole protocol and, as the last line, one JSON
object. --compare=DIR2 adds the paired difference with another run on the same episodes. The result
is added to DIR/evaluations.jsonl and to DIR/card.md; nothing else is changed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import finished_run
from launch import flags, launch

FLAGS = flags.FLAGS

GROUPS = ("evaluation", "run", "data", "learner", "outer_loop")
EVALUATION_SEED = 0
# Of these two evaluations differ always, whatever their protocols.
_NO_DIFFERENCE = ("evaluation_seconds",)


def main() -> int:
    """Evaluates, prints, records."""
    finished_run.check("run_dir")
    if FLAGS.compare is not None:
        finished_run.check("compare")
    finished_run.refuse_changes_of_the_model()
    flags.defaults_from_run(FLAGS.run_dir)
    finished_run.refuse_another_class_split("run_dir")
    if FLAGS.compare is not None:
        finished_run.refuse_another_class_split("compare")

    import assemble

    from anil_tf.evaluation import card, compare, evaluate

    assemble.seed()
    tasks = _tasks()
    learner = finished_run.learner("run_dir", tasks)
    options = {"episodes": FLAGS.episodes, "jit_compile": FLAGS.jit_compile == "on"}
    evaluation = evaluate(learner, tasks, **options)
    result = _result(evaluation, _protocol("run_dir", evaluation, learner, tasks))
    record = dict(result)
    if FLAGS.compare is not None:
        learner = finished_run.learner("compare", tasks)
        other = evaluate(learner, tasks, **options)
        result["comparison"] = _comparison(
            compare(evaluation, other),
            other,
            result["protocol"],
            _protocol("compare", other, learner, tasks),
        )
    _print_table(result)
    print(card.dumps(result), flush=True)
    _record(record)
    return flags.EXIT_DONE


def _tasks() -> Any:
    """The tasks to evaluate on: the run's data, with what the command line changes."""
    import assemble

    seed = FLAGS.seed if FLAGS["seed"].present else EVALUATION_SEED
    return assemble.tasks(FLAGS.split, seed=seed, ways=FLAGS.ways, augment=False)


def _protocol(flag: str, evaluation: Any, learner: Any, tasks: Any) -> dict[str, Any]:
    numbers = {"episodes": evaluation.episodes, "seconds": evaluation.seconds}
    return finished_run.protocol(flag, learner, tasks, **numbers)


def _result(evaluation: Any, protocol: dict[str, Any]) -> dict[str, Any]:
    """The numbers with their protocol, as they are printed and recorded."""
    return {
        evaluation.metric: evaluation.value,
        "ci95": evaluation.ci95,
        "loss": evaluation.loss,
        "ece": evaluation.ece,
        "episodes": evaluation.episodes,
        "seconds": evaluation.seconds,
        "protocol": protocol,
    }


def _record(record: dict[str, Any]) -> None:
    """Adds the result to the run; the numbers are out, so that failing here is no failure."""
    from anil_tf.evaluation import card

    try:
        card.add_evaluation(FLAGS.run_dir, record)
    except OSError as error:
        print(f"evaluate.py: warning: this evaluation is not recorded: {error}", file=sys.stderr)


def _comparison(
    comparison: Any, other: Any, here: dict[str, Any], there: dict[str, Any]
) -> dict[str, Any]:
    differing = [name for name in here if here[name] != there.get(name)]
    return {
        "run_dir": FLAGS.compare,
        other.metric: other.value,
        "difference": comparison.difference,
        "ci95": comparison.ci95,
        "episodes": comparison.episodes,
        "differing": [name for name in differing if name not in _NO_DIFFERENCE],
        "protocol": there,
    }


def _print_table(result: dict[str, Any]) -> None:
    from anil_tf.evaluation import protocol

    lines = [*_result_rows(result), ("", ""), *protocol.rows(result["protocol"])]
    width = max(len(name) for name, _ in lines)
    print("\n".join(f"{name:<{width}}  {value}".rstrip() for name, value in lines))


def _result_rows(result: dict[str, Any]) -> Iterator[tuple[str, str]]:
    from anil_tf.evaluation import calibration, card

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


if __name__ == "__main__":
    launch(main, title=__doc__, groups=GROUPS)
