"""The files of trials as a search leaves them, without a search."""

import json
import math

import numpy as np

from anil_tf.tuning import objective
from anil_tf.tuning.objective import Score
from anil_tf.tuning.search_space import Choice, Interval, SearchSpace

SPACE = SearchSpace([Interval("inner_step_size", 0.01, 1.0), Choice("first_order", (False, True))])
EPISODES = np.random.default_rng(0).uniform(0.2, 0.8, 50)


def put(folder, name, status, score=None, sent=True):
    """Writes the files of a trial; `sent` is what KerasTuner has of the score."""
    place = folder / "search" / f"trial_{name}"
    place.mkdir(parents=True)
    metrics = {}
    if score is not None and sent:
        metrics = {
            key: {"direction": "max", "observations": [{"value": [float(np.float32(value))]}]}
            for key, value in score.metrics().items()
        }
    values = {"inner_step_size": 0.01 * (int(name) + 1), "first_order": name == "0001"}
    state = {
        "trial_id": name,
        "hyperparameters": {"values": values | {"tuner/epochs": 3}},
        "metrics": {"metrics": metrics},
        "status": status,
    }
    (place / "trial.json").write_text(json.dumps(state))
    if score is not None and sent != "only":
        run = folder / "trials" / name
        run.mkdir(parents=True)
        objective.write(score, run)


def of(accuracies):
    accuracies = np.asarray(accuracies)
    ci95 = 1.96 * accuracies.std(ddof=1) / math.sqrt(len(accuracies))
    return Score(float(accuracies.mean()), float(ci95), False, 3, 61.7, "here", tuple(accuracies))
