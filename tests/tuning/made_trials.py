"""Trials as a search has them, without a search."""

import math

import numpy as np
from keras_tuner.engine.trial import Trial

from anil_tf.config import Range
from anil_tf.tuning import search_space
from anil_tf.tuning.results import Row
from anil_tf.tuning.score import Score

SPACE = search_space.make({"inner_step_size": Range(0.01, 1.0), "first_order": True})
EPISODES = np.random.default_rng(0).uniform(0.2, 0.8, 50)


def score_of(accuracies):
    accuracies = np.asarray(accuracies)
    ci95 = 1.96 * accuracies.std(ddof=1) / math.sqrt(len(accuracies))
    return Score(float(accuracies.mean()), float(ci95), False, 3, 61.7, "here", tuple(accuracies))


def made(name, status, score=None, *, runs=None, is_sent=True):
    """KerasTuner's trial; `runs` is where its run directory has the score."""
    space = SPACE.copy()
    values = {"inner_step_size": 0.01 * (int(name) + 1), "first_order": name == "0001"}
    space.values = values | {"tuner/epochs": 3}
    trial = Trial(space, trial_id=name, status=status)
    for key, value in score.metrics().items() if score and is_sent else ():
        trial.metrics.register(key, "max")
        trial.metrics.update(key, float(np.float32(value)))
    if runs is not None:
        (runs / name).mkdir(parents=True)
        score.write(runs / name)
    return trial


def row(number, accuracy=0.5, status="done", **values):
    """A row of a table."""
    score = Score(accuracy, 0.01, status == "diverged", 3, 10.0)
    return Row(f"{number:04d}", status, values, score if status in ("done", "diverged") else None)
