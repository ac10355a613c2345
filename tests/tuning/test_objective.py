import dataclasses
import math

import numpy as np
import pytest

from anil_tf.evaluation import Evaluation
from anil_tf.tuning import objective


def test_a_score_is_the_mean_over_episodes_with_its_interval(tmp_path):
    accuracies = np.array([0.2, 0.4, 0.6, 0.4])
    evaluation = Evaluation(accuracies, np.zeros(4), 0.1, 1.0, "here")
    score = objective.of_evaluation(evaluation, epochs=3, seconds=7.0)
    assert score.accuracy == accuracies.mean()
    assert math.isclose(score.ci95, 1.96 * accuracies.std(ddof=1) / 2)
    assert score.per_episode == tuple(accuracies) and not score.diverged
    assert objective.read(tmp_path) is None
    objective.write(score, tmp_path)
    assert objective.read(tmp_path) == score
    assert score.metrics()[objective.NAME] == score.accuracy


def test_a_trial_that_diverges_scores_chance(tmp_path):
    score = objective.of_divergence(ways=5, epochs=3, seconds=7.0)
    assert (score.accuracy, score.ci95, score.diverged) == (0.2, 0.0, True)
    objective.write(score, tmp_path)
    assert objective.read(tmp_path) == score
    assert all(math.isfinite(value) for value in score.metrics().values()), "nan fails a trial"


def test_one_episode_has_no_interval_and_is_kept_all_the_same(tmp_path):
    evaluation = Evaluation(np.array([0.5]), np.zeros(1), 0.1, 1.0, "here")
    assert objective.of_evaluation(evaluation, epochs=1, seconds=1.0).ci95 == 0.0


def test_only_scores_of_the_same_episodes_are_compared():
    first, second = (
        objective.of_evaluation(
            Evaluation(np.array(accuracies), np.zeros(3), 0.1, 1.0, "here"), epochs=1, seconds=1.0
        )
        for accuracies in ([0.5, 0.6, 0.7], [0.4, 0.5, 0.6])
    )
    compared = objective.compare(first, second)
    assert math.isclose(compared.difference, 0.1) and compared.ci95 < 1e-9
    elsewhere = dataclasses.replace(second, drawn_from="elsewhere")
    with pytest.raises(ValueError, match="3 episodes of here and 3 of elsewhere"):
        objective.compare(first, elsewhere)
