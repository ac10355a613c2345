"""No file is let out that answers other than its learner, whichever way it is asked."""

import numpy as np
import pytest

from anil_tf.deploy import agreement, formats
from anil_tf.deploy.made_task import made_task
from tests.deploy.learners import (
    answers_of,
    learner_of,
    mixed_precision_learner,
    regression_learner,
)

OPTIONS = formats.Options("support", 1.5, ways=3, shots=2, queries=4)


class Runtime:
    """Answers in one call, and from a state, by arrays that are laid into it."""

    def __init__(self, together, apart):
        self.together, self.apart = together, apart

    def adapt(self, images, labels):
        return {"state": images}

    def predict(self, images, state):
        return self.apart

    def adapt_and_predict(self, images, labels, queries):
        return self.together


@pytest.fixture(scope="module")
def reference():
    return agreement.reference(learner_of("prototype"), OPTIONS)


def compare(reference, together, apart, adapts=True, tolerance=1e-3):
    runtime = Runtime(reference.answers + together, reference.answers + apart)
    return agreement.largest_difference(
        runtime, reference, name="A file", adapts=adapts, tolerance=tolerance
    )


def test_the_reference_is_the_learners_answer_at_the_temperature(reference):
    expected = answers_of(learner_of("prototype"), *reference.task.question, temperature=1.5)
    np.testing.assert_allclose(reference.answers, expected, atol=1e-6)
    assert (expected.argmax(axis=-1) == reference.task.query_labels).mean() > 0.5


def test_the_largest_difference_of_either_way_is_found(reference):
    assert compare(reference, 2e-4, 5e-4) == pytest.approx(5e-4, rel=0.01)
    assert compare(reference, 6e-4, 5e-4) == pytest.approx(6e-4, rel=0.01)
    assert compare(reference, 2e-4, 1.0, adapts=False) == pytest.approx(2e-4, rel=0.01)


@pytest.mark.parametrize(("together", "apart"), [(2e-3, 0.0), (0.0, 2e-3), (0.0, np.nan)])
def test_answers_that_are_others_are_refused_whichever_way_they_come(reference, together, apart):
    with pytest.raises(RuntimeError, match="A file answers other than the learner.*0.001 at most"):
        compare(reference, together, apart)


def test_rounded_weights_may_differ_but_have_to_give_numbers(reference):
    assert compare(reference, 0.2, 0.3, tolerance=None) == pytest.approx(0.3, rel=0.01)
    for wrong in (np.nan, np.inf):
        with pytest.raises(RuntimeError, match="where a finite one was expected"):
            compare(reference, 0.0, wrong, tolerance=None)


def test_a_body_in_bfloat16_has_a_tolerance_of_its_own():
    assert agreement.tolerance_of(learner_of("zero")) == agreement.TOLERANCE
    assert agreement.tolerance_of(mixed_precision_learner()) == agreement.BFLOAT16_TOLERANCE


def test_made_tasks_have_the_sizes_of_the_options_and_differ_by_seed():
    for learner, shapes in [
        (learner_of("zero"), [(6, 16, 16, 1), (6,), (12, 16, 16, 1), (12,)]),
        (regression_learner(), [(2, 1), (2, 1), (4, 1), (4, 1)]),
    ]:
        one, other = (made_task(learner, OPTIONS, seed=seed) for seed in (0, 1))
        assert [part.shape for part in one] == shapes
        assert [part.dtype for part in one[:2]] == [part.dtype for part in one[2:]]
        assert not np.array_equal(one.support_images, other.support_images)
        again = made_task(learner, OPTIONS)
        assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
