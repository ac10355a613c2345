"""Calibration: does a confidence of 80 % mean right four times in five?

The expected calibration error and temperature scaling of Guo et al., "On Calibration of Modern
Neural Networks", ICML 2017 (arXiv:1706.04599). Pure NumPy and SciPy: logits and labels in, numbers
out.
"""

from __future__ import annotations

import numpy as np
import scipy.optimize
import scipy.special

BINS = 15
_LOG_TEMPERATURE_RANGE = (-5.0, 5.0)


def tally(logits: np.ndarray, labels: np.ndarray, *, bins: int = BINS) -> np.ndarray:
    """Counts predictions by confidence; tallies of several batches are added up.

    Args:
        logits: [..., ways] float, before the softmax.
        labels: [...] int, 0..ways-1.
        bins: how many equal bins the confidences (0, 1] are put into; each bin holds its upper
            edge.

    Returns:
        [3, bins] float64: how many predictions, the sum of their confidences, how many of them are
        right.

    Raises:
        ValueError: if the shapes do not fit.
    """
    logits, labels = _arrays(logits, labels)
    confidences = scipy.special.softmax(logits, axis=-1).max(axis=-1).ravel()
    right = (logits.argmax(axis=-1) == labels).ravel()
    bin_of = np.clip(np.ceil(confidences * bins).astype(int) - 1, 0, bins - 1)
    return np.stack(
        [np.bincount(bin_of, weights=w, minlength=bins) for w in (None, confidences, right)]
    )


def error_of(counts: np.ndarray) -> float:
    """The expected calibration error of a `tally`.

    Args:
        counts: [3, bins] as `tally` gives it.

    Returns:
        The mean over predictions of |accuracy - confidence| of their bin, between 0 and 1; NaN
        without predictions.
    """
    predictions, confidence, right = counts
    total = predictions.sum()
    return float(np.abs(right - confidence).sum() / total) if total else float("nan")


def expected_calibration_error(
    logits: np.ndarray, labels: np.ndarray, *, bins: int = BINS
) -> float:
    """The expected calibration error (arXiv:1706.04599, equation 5).

    Args:
        logits: [..., ways] float.
        labels: [...] int, 0..ways-1.
        bins: how many bins of confidence.

    Returns:
        A number between 0 (calibrated) and 1.

    Example:
        Two predictions with confidence 0.5, one of them right, are calibrated:

        >>> expected_calibration_error([[0.0, 0.0], [0.0, 0.0]], [0, 1])
        0.0
    """
    return error_of(tally(logits, labels, bins=bins))


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The T with the smallest cross-entropy of softmax(logits / T) (arXiv:1706.04599, section 4.2).

    Fit it on validation episodes, never on those that are reported. Dividing by T changes no
    prediction.

    Args:
        logits: [..., ways] float.
        labels: [...] int, 0..ways-1.

    Returns:
        T, between 1/148 and 148: above 1 if the logits were overconfident. Where every prediction
        is right, the smaller the better: the lower end is returned.

    Raises:
        ValueError: if the shapes do not fit.
    """
    logits, labels = _arrays(logits, labels)

    def cross_entropy(log_temperature: float) -> float:
        log_probabilities = scipy.special.log_softmax(logits / np.exp(log_temperature), axis=-1)
        return -float(np.take_along_axis(log_probabilities, labels[..., None], axis=-1).mean())

    # Convex in 1/T, hence with a single valley in log T.
    best = scipy.optimize.minimize_scalar(
        cross_entropy, bounds=_LOG_TEMPERATURE_RANGE, method="bounded"
    )
    return float(np.exp(best.x))


def _arrays(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays, found to fit each other."""
    logits, labels = np.asarray(logits, np.float64), np.asarray(labels)
    if logits.shape[:-1] != labels.shape:
        raise ValueError(
            f"expected logits of shape {labels.shape} + (ways,), received {logits.shape}"
        )
    return logits, labels
