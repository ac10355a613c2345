"""The rows of ANIL beside MAML, read: where the two are compared, and what is spent by then."""

import numpy as np
import pytest

from anil_tf.study.experiments import method_courses
from tests.study.experiments.test_anil_vs_maml import BODY, HEAD, made


def without_noise(**changes):
    return method_courses.courses(made(noise=0.0, **changes))


def test_they_meet_at_the_last_checkpoint_of_maml_that_anil_can_afford():
    rows = without_noise()
    assert method_courses.meeting_point(rows, "meta_step") == 100
    assert method_courses.meeting_point(rows, "seconds") == 100  # 800 of ANIL's 1000
    assert method_courses.meeting_point(rows, "second_order_entries") == 20
    dear = without_noise(ratios={5: 11.0})
    assert method_courses.meeting_point(dear, "seconds") == 20


def test_anil_that_affords_no_checkpoint_meets_maml_at_the_start_and_unknown_costs_nowhere():
    dear = without_noise(ratios={5: 60.0})
    assert method_courses.meeting_point(dear, "seconds") == 0
    rows = without_noise()
    assert method_courses.meeting_point(rows.assign(seconds=np.nan), "seconds") is None
    assert method_courses.meeting_point(rows[rows["method"] == "anil"], "seconds") is None
    assert method_courses.meeting_point(rows.iloc[:0], "seconds") is None


def test_anil_between_its_checkpoints_is_on_a_straight_line():
    """MAML's 20 meta-steps take as long as 160 of ANIL: 3/10 of the way from 100 to 300."""
    rows = without_noise()
    short = rows[(rows["method"] == "anil") | (rows["meta_step"] <= 20)]
    found = method_courses.at_equal_expense(short, "seconds", "accuracy")
    assert found.center == pytest.approx(4 * (1 + 0.3) - 0.2 * 4)


def test_equal_meta_steps_of_methods_that_learn_alike_are_equal_accuracies():
    assert method_courses.after_equal_steps(without_noise()).center == pytest.approx(0.0)
    late = method_courses.after_equal_steps(without_noise(behind=0.03))
    assert late.center == pytest.approx(-3.0)


def test_the_way_to_the_same_loss_costs_what_the_matrices_of_anil_are_smaller_by():
    """Both need 100 meta-steps, so what is left is what each of them evaluates."""
    found = method_courses.entries_ratio(without_noise())
    assert found.center == pytest.approx(HEAD / (HEAD + BODY))
    assert np.isnan(method_courses.entries_ratio(without_noise(behind=0.1)).center)
