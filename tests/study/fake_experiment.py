"""bin/reproduce.py itself, with two small experiments in place of the paper's.

Called as a script: python tests/study/fake_experiment.py MARKS SECONDS FLAG... Of the cells, which append their seed to
the file MARKS when they begin and take SECONDS, one fails if the file FAIL is beside MARKS.
"""

import os
import pathlib
import sys
import types

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAMES = ("batch_size", "sample_size")


def experiment(name, marks, seconds):
    """Means of what the cells return, one cell for each of four seeds; both experiments have the same cells."""
    from anil_tf.study import claims, statistics
    from anil_tf.study.cell import Cell
    from anil_tf.study.experiment import Experiment

    rule = claims.Rule("Values are large.", "The mean over seeds, at 95 %, is above 5.")

    def cells(scale, data):
        settings = {"marks": marks, "seconds": seconds, "dataset": data.dataset}
        runner = "tests.study.fake_runs:slow"
        made = [Cell(runner, settings | {"seed": seed}) for seed in range(4)]
        if (pathlib.Path(marks).parent / "FAIL").exists() and name == NAMES[1]:
            made.append(Cell("tests.study.fake_runs:fail", {"seed": 0}))
        return made

    def judge(frame):
        interval = statistics.mean(frame["value"])
        return [rule.claimed(name, interval, statistics.decide(interval, "above", 5.0))]

    def draw(frame, folder):
        (folder / "values.png").write_bytes(b"no picture")
        return [claims.Picture("values.png", "Values by seed.")]

    def tables(frame):
        return [claims.Table("Values", frame[["seed", "value"]])]

    return Experiment(
        name, f"About {name}", "Are they?", {"large": rule}, cells, judge, draw, tables
    )


class Experiments(dict):
    """Made when they are asked for, since that imports TensorFlow."""

    def __missing__(self, name):
        return experiment(name, *self["arguments"])


def main(marks, seconds, *flags):
    """Puts the experiments where the binary looks for them, and runs it."""
    sys.path[:0] = [str(ROOT / "bin"), str(ROOT)]
    registry = types.ModuleType("anil_tf.study.experiments")
    registry.NAMES, registry.OWN = NAMES, ()
    registry.EXPERIMENTS = Experiments(arguments=(marks, float(seconds)))
    sys.modules[registry.__name__] = registry
    script = os.path.join(ROOT, "bin", "reproduce.py")
    sys.argv = [script, *flags]
    # This file stays the main module, which the worker processes import.
    source = compile(pathlib.Path(script).read_text(encoding="utf-8"), script, "exec")
    exec(source, {"__name__": "__main__", "__file__": script, "__doc__": "As bin/reproduce.py."})


if __name__ == "__main__":
    main(*sys.argv[1:])
if __name__ == "__mp_main__":
    from tests.study import light_worker

    light_worker.use_folders_for_packages()
