"""What a trial is scored by: its accuracy on the validation episodes, the same in every trial, with the 95 % interval.

As the episodes are common to all trials, two of them are compared episode by episode, where the difference is known far
more precisely than either accuracy. The accuracy is that of the epoch which validation chose; the best of many trials
is better on these episodes than it will be on others, which is what the test classes are for.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import TYPE_CHECKING

import numpy as np

from anil_tf.files import write_atomically

if TYPE_CHECKING:
    from anil_tf.evaluation import Comparison, Evaluation

NAME = "accuracy"  # of the objective, for KerasTuner
_FILE = "score.json"


@dataclasses.dataclass(frozen=True)
class Score:
    """What a trial reached.

    Attributes:
        accuracy: on the validation episodes, a fraction; that of chance if the trial diverged.
        ci95: half the width of its 95 % interval; 0 if the trial diverged.
        diverged: whether the training met a number that is not finite.
        epochs: epochs of the training, those of a shorter trial that it went on from included.
        seconds: time of the training.
        drawn_from: which episodes these are, in words; only equal ones can be compared.
        per_episode: the accuracy of each episode; empty if the trial diverged.
    """

    accuracy: float
    ci95: float
    diverged: bool
    epochs: int
    seconds: float
    drawn_from: str = ""
    per_episode: tuple[float, ...] = ()

    def metrics(self) -> dict[str, float]:
        """The score as KerasTuner keeps it."""
        numbers = dataclasses.asdict(self)
        del numbers["drawn_from"], numbers["per_episode"]
        return {name: float(value) for name, value in numbers.items()}


def of_evaluation(evaluation: Evaluation, *, epochs: int, seconds: float) -> Score:
    """The score of a trial that ended well.

    Args:
        evaluation: on the validation episodes.
        epochs: of the training.
        seconds: of the training.
    """
    ci95 = evaluation.ci95 if evaluation.episodes > 1 else 0.0
    accuracies = tuple(map(float, evaluation.per_episode))
    drawn_from = evaluation.drawn_from
    return Score(evaluation.value, ci95, False, epochs, seconds, drawn_from, accuracies)


def of_divergence(*, ways: int, epochs: int, seconds: float) -> Score:
    """The score of a trial that diverged: chance. That a setting diverges is worth knowing, and no failure.

    Args:
        ways: classes of a validation task.
        epochs: that the training was to have.
        seconds: of the training.
    """
    return Score(1 / ways, 0.0, True, epochs, seconds)


def compare(first: Score, second: Score) -> Comparison:
    """The mean paired difference first - second, episode by episode, with its 95 % interval.

    Args:
        first: the score of a trial that ended well.
        second: that of another one.

    Raises:
        ValueError: if the two were not reached on the same episodes.
    """
    from anil_tf import evaluation

    return evaluation.compare(_evaluation(first), _evaluation(second))


def _evaluation(score: Score) -> Evaluation:
    """The evaluation as far as it is kept: without losses."""
    from anil_tf.evaluation import Evaluation

    accuracies = np.array(score.per_episode)
    losses = np.full_like(accuracies, np.nan)
    return Evaluation(accuracies, losses, None, score.seconds, score.drawn_from)


def write(score: Score, run_dir: str | pathlib.Path) -> None:
    """Keeps a score beside the training that reached it."""
    text = json.dumps(dataclasses.asdict(score)) + "\n"
    write_atomically(pathlib.Path(run_dir, _FILE), text)


def read(run_dir: str | pathlib.Path) -> Score | None:
    """The score of a training; None if it is not finished."""
    path = pathlib.Path(run_dir, _FILE)
    if not path.exists():
        return None
    kept = json.loads(path.read_text(encoding="utf-8"))
    return Score(**(kept | {"per_episode": tuple(kept["per_episode"])}))
