import dataclasses
import math

import numpy as np
import pytest

from anil_tf.evaluation import Evaluation
from anil_tf.tuning.score import Score


def score_of(accuracies):
    accuracies = np.array(accuracies)
    evaluation = Evaluation(accuracies, np.zeros(len(accuracies)), 0.1, 1.0, "here")
    return Score.of_evaluation(evaluation, epochs=3, seconds=7.0)


def test_a_score_is_the_mean_over_episodes_with_its_interval(tmp_path):
    accuracies = np.array([0.2, 0.4, 0.6, 0.4])
    score = score_of(accuracies)
    assert score.accuracy == accuracies.mean() and not score.diverged
    assert math.isclose(score.ci95, 1.96 * accuracies.std(ddof=1) / 2)
    assert str(score) == "40.00 ± 16.00 %"
    assert Score.read(tmp_path) is None
    score.write(tmp_path)
    assert Score.read(tmp_path) == score
    sent = Score.of_metrics(score.metrics().__getitem__)
    assert sent == dataclasses.replace(score, drawn_from="", per_episode=())


def test_a_trial_that_diverges_scores_chance(tmp_path):
    score = Score.of_divergence(ways=5, epochs=3, seconds=7.0)
    assert (score.accuracy, score.ci95, score.diverged) == (0.2, 0.0, True)
    score.write(tmp_path)
    assert Score.read(tmp_path) == score
    assert all(math.isfinite(value) for value in score.metrics().values()), "nan fails a trial"


def test_one_episode_has_no_interval_and_is_kept_all_the_same():
    assert score_of([0.5]).ci95 == 0.0


def test_only_scores_of_the_same_episodes_are_compared():
    first, second = score_of([0.5, 0.6, 0.7]), score_of([0.4, 0.5, 0.6])
    compared = first.compare(second)
    assert math.isclose(compared.difference, 0.1) and compared.ci95 < 1e-9
    with pytest.raises(ValueError, match="3 episodes of here and 3 of elsewhere"):
        first.compare(dataclasses.replace(second, drawn_from="elsewhere"))
