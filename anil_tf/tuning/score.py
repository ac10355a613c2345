"""What a trial is scored by: its accuracy on the validation episodes, the same in every trial, with the 95 % interval.

As the episodes are common to all trials, two of them are compared episode by episode, where the difference is known far
more precisely than either accuracy. The accuracy is that of the epoch which validation chose; the best of many trials
is better on these episodes than it will be on others, which is what the test classes are for.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Callable

import numpy as np

from anil_tf import evaluation
from anil_tf.evaluation import Comparison, Evaluation
from anil_tf.files import write_atomically

FILE = "score.json"
_METRICS = ("accuracy", "ci95", "diverged", "epochs", "seconds")


def percent(fraction: float, ci95: float) -> str:
    """An accuracy, or a difference, with its interval in percent."""
    return f"{100 * fraction:.2f} ± {100 * ci95:.2f}"


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

    def __str__(self) -> str:
        return f"{percent(self.accuracy, self.ci95)} %"

    @classmethod
    def of_evaluation(cls, found: Evaluation, *, epochs: int, seconds: float) -> Score:
        """The score of a trial that ended well: what was found on the validation episodes."""
        ci95 = found.ci95 if found.episodes > 1 else 0.0
        accuracies = tuple(map(float, found.per_episode))
        return cls(found.value, ci95, False, epochs, seconds, found.drawn_from, accuracies)

    @classmethod
    def of_divergence(cls, *, ways: int, epochs: int, seconds: float) -> Score:
        """The score of a trial that diverged: chance. That a setting diverges is worth knowing, and no failure."""
        return cls(1 / ways, 0.0, True, epochs, seconds)

    @classmethod
    def read(cls, run_dir: pathlib.Path) -> Score | None:
        """The score of a training; None if it is not finished."""
        path = run_dir / FILE
        if not path.exists():
            return None
        kept = json.loads(path.read_text(encoding="utf-8"))
        return cls(**(kept | {"per_episode": tuple(kept["per_episode"])}))

    def write(self, run_dir: pathlib.Path) -> None:
        """Keeps the score beside the training that reached it."""
        write_atomically(run_dir / FILE, json.dumps(dataclasses.asdict(self)) + "\n")

    @classmethod
    def of_metrics(cls, get: Callable[[str], float]) -> Score:
        """The score as far as KerasTuner keeps it; see `metrics`."""
        accuracy, ci95, diverged, epochs, seconds = map(get, _METRICS)
        return cls(accuracy, ci95, bool(diverged), int(epochs), seconds)

    def metrics(self) -> dict[str, float]:
        """The score as KerasTuner keeps it."""
        return {name: float(getattr(self, name)) for name in _METRICS}

    def compare(self, other: Score) -> Comparison:
        """The mean paired difference to another score, episode by episode, with its 95 % interval.

        Raises:
            ValueError: if the two were not reached on the same episodes.
        """
        return evaluation.compare(self._evaluation(), other._evaluation())

    def _evaluation(self) -> Evaluation:
        """The evaluation as far as it is kept: without losses."""
        accuracies = np.array(self.per_episode)
        losses = np.full_like(accuracies, np.nan)
        return Evaluation(accuracies, losses, None, self.seconds, self.drawn_from)
