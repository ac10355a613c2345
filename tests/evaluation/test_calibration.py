import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anil_tf.evaluation import calibration


def drawn_from_their_own_logits(scale, count=40_000, ways=5):
    """Logits, and labels that follow exactly the probabilities the logits state."""
    random = np.random.default_rng(0)
    logits = scale * random.standard_normal((count, ways))
    labels = (logits + random.gumbel(size=logits.shape)).argmax(axis=-1)
    return logits, labels


def test_by_hand():
    # Confidences 0.9, 0.9 (one right), 0.6 (right): |1 - 1.8| + |1 - 0.6| over three predictions.
    confidences = np.array([0.9, 0.9, 0.6])
    logits = np.stack([np.log(confidences), np.log(1 - confidences)], axis=-1)
    error = calibration.expected_calibration_error(logits, np.array([0, 1, 0]))
    assert error == pytest.approx((0.8 + 0.4) / 3)
    assert np.isnan(calibration.expected_calibration_error(np.zeros((0, 5)), np.zeros(0, int)))


@pytest.mark.parametrize("scale", [0.3, 3.0])
def test_calibrated_predictions_have_almost_no_error(scale):
    assert calibration.expected_calibration_error(*drawn_from_their_own_logits(scale)) < 0.01


@given(st.integers(1, 50), st.integers(1, 20), st.integers(0, 10_000))
def test_tallies_add_up(first, second, seed):
    random = np.random.default_rng(seed)
    logits = 2 * random.standard_normal((first + second, 4))
    labels = random.integers(0, 4, first + second)
    parts = calibration.tally(logits[:first], labels[:first])
    parts += calibration.tally(logits[first:], labels[first:])
    np.testing.assert_allclose(parts, calibration.tally(logits, labels), atol=1e-12)
    assert 0 <= calibration.error_of(parts) <= 1
    assert parts[0].sum() == first + second


@pytest.mark.parametrize("temperature", [0.5, 6.0])
def test_the_temperature_that_was_put_in_is_found_and_calibrates(temperature):
    logits, labels = drawn_from_their_own_logits(1.0)
    logits *= temperature
    found = calibration.fit_temperature(logits, labels)
    assert found == pytest.approx(temperature, rel=0.03)
    assert calibration.expected_calibration_error(logits, labels) > 0.1
    assert calibration.expected_calibration_error(logits / found, labels) < 0.01


@pytest.mark.parametrize("function", [calibration.tally, calibration.fit_temperature])
def test_shapes_that_do_not_fit_are_refused(function):
    with pytest.raises(ValueError, match=r"\(3,\).*received \(2, 5\)"):
        function(np.zeros((2, 5)), np.zeros(3, int))
