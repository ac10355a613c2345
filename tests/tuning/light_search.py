"""A search whose trials only sleep: python tests/tuning/light_search.py DIR TUNER TRIALS SLICES TIMEOUT

Its role comes from KerasTuner's environment variables. A trial sleeps for SLICES tenths of a second, and writes each of
them down, so that one that was killed goes on where it was. DIR/marks has a line for each slice: who, which trial,
which slice. The best setting is a step size of 0.1 with 8 steps; a step size above 0.5 diverges.
"""

import math
import os
import pathlib
import sys
import time
import types

ROOT = pathlib.Path(__file__).resolve().parents[2]
SLICE = 0.1  # seconds


def use_folders_for_packages():
    """Has the modules of tuning imported without their packages, which import much else."""
    sys.path.insert(0, str(ROOT))
    for name in ("anil_tf", "anil_tf.tuning"):
        package = types.ModuleType(name)
        package.__path__ = [str(ROOT.joinpath(*name.split(".")))]
        sys.modules[name] = package


def accuracy(values):
    """A smooth function with its maximum, 1, at a step size of 0.1 and 8 steps."""
    size, steps = values["inner_step_size"], values["inner_steps"]
    return 1 / (1 + math.log10(size / 0.1) ** 2 + math.log(steps / 8) ** 2)


def space():
    """What is searched."""
    from anil_tf.tuning.search_space import Interval, SearchSpace

    settings = [
        Interval("inner_step_size", 0.01, 1.0),
        Interval("inner_steps", 1, 20, whole=True),
    ]
    return SearchSpace(settings)


def trial_in(folder, worker, slices):
    """The function that runs a trial."""
    from anil_tf.tuning.objective import Score

    def run(trial):
        done = folder / f"{trial.name}.done"
        first = int(done.read_text()) if done.exists() else 0
        for number in range(first, slices):
            with (folder / "marks").open("a") as marks:
                marks.write(f"{worker} {trial.name} {number}\n")
            time.sleep(SLICE)
            done.write_text(str(number + 1))
        epochs = trial.epochs or 9
        if trial.values["inner_step_size"] > 0.5:
            return Score(0.2, 0.0, True, epochs, 0.0)
        return Score(accuracy(trial.values), 0.01, False, epochs, slices * SLICE)

    return run


def main(folder, tuner, most, slices, timeout):
    from anil_tf.tuning import distributed, oracles, search, trials

    folder = pathlib.Path(folder)
    folder.mkdir(exist_ok=True)
    role = distributed.role(os.environ)
    oracle = oracles.make(
        tuner,
        space(),
        budget=oracles.Budget(trials=int(most)),
        epochs=9,
        first={"inner_step_size": 0.02, "inner_steps": 5},
        patience=float(timeout),
        is_chief=role.kind == "chief",
    )
    try:
        search.search(
            oracle,
            trial_in(folder, role.name, int(slices)),
            directory=folder / "search",
            role=role,
            timeout=float(timeout),
        )
    except distributed.TimedOut as error:
        sys.exit(str(error))
    if role.writes:
        rows = trials.read(folder / "search", folder / "trials", space())
        trials.write_csv(rows, space(), folder / "trials.csv")
        print(trials.table(rows, space()))


if __name__ == "__main__":
    use_folders_for_packages()
    main(*sys.argv[1:])
