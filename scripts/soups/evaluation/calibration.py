"""Does a model know how sure it can be? Expected calibration error, likelihood, Brier score."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import erf, log_softmax

from soups.evaluation.resampling import totals

BINS = 15


def scores(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Calibration of predicted probabilities.

    Args:
        logits: shape (n, classes).
        labels: shape (n,).

    Returns:
        ``ece``: expected calibration error over `BINS` bins of equal width (Guo et al., 2017);
        ``nll``: mean negative log-likelihood, in nats; ``brier``: mean squared distance of the
        probabilities from the label's, summed over classes, between 0 and 2.
    """
    logs = log_softmax(np.asarray(logits, np.float64), axis=1)
    probabilities = np.exp(logs)
    rows = np.arange(len(labels))
    target = np.zeros_like(probabilities)
    target[rows, labels] = 1
    return {
        "ece": ece(probabilities.max(1), probabilities.argmax(1) == labels),
        "nll": float(-logs[rows, labels].mean()),
        "brier": float(((probabilities - target) ** 2).sum(1).mean()),
    }


def ece(confidence: np.ndarray, right: np.ndarray) -> float:
    """Mean distance of accuracy from confidence over bins, weighted by their images.

    Args:
        confidence: probability of the predicted class, shape (n,).
        right: was it the label's?
    """
    confidence, accuracy, count = reliability(confidence, right)
    return float((count * np.abs(confidence - accuracy)).sum() / count.sum())


def debiased_ece(confidence: np.ndarray, right: np.ndarray, seed: int = 0) -> np.ndarray:
    """ECE less what noise alone adds to it, observed and of resampled images.

    The mean distance of a bin is |gap + noise|, which is larger than |gap|: a perfectly
    calibrated model has an ECE above 0, and resampling, which adds noise once more, a larger
    one. What a normal noise of the bin's own standard error adds is taken off each bin.

    Args:
        confidence, right: shape (n,).
        seed: the same one draws the same images for every model.

    Returns:
        shape (1 + `resample.REPLICATES`,), the observed value first.
    """
    n, apart = len(confidence), confidence - right
    sums = np.zeros((2, BINS, n))
    sums[:, _bins(confidence), np.arange(n)] = apart, apart**2
    gaps, squares = np.split(totals(sums.reshape(2 * BINS, n), [seed]) / n, 2)
    noise = squares / n
    noise[:, 1:] *= 2  # a sample's and its resample's
    error = np.sqrt(noise) + 1e-12
    true = np.sqrt(np.maximum(gaps**2 - noise, 0))
    # Mean of |true + noise|, the folded normal distribution's.
    ratio = true / error / np.sqrt(2)
    mean = error * np.sqrt(2 / np.pi) * np.exp(-(ratio**2)) + true * erf(ratio)
    return (np.abs(gaps) - (mean - true)).sum(0)


def _bins(confidence: np.ndarray) -> np.ndarray:
    # Open below and closed above, as in Guo et al.
    return np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)


def reliability(confidence: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, ...]:
    """Mean confidence, accuracy and number of images of the bins that are not empty."""
    index = _bins(confidence)
    count = np.bincount(index, minlength=BINS)
    filled = count > 0
    sums = (np.bincount(index, values, BINS)[filled] for values in (confidence, right))
    means = [values / count[filled] for values in sums]
    return means[0], means[1], count[filled]


def temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The number to divide logits by that makes these labels likeliest (Guo et al., 2017)."""
    logits, rows = np.asarray(logits, np.float64), np.arange(len(labels))

    def nll(log_t: float) -> float:
        return -log_softmax(logits / np.exp(log_t), axis=1)[rows, labels].mean()

    return float(np.exp(minimize_scalar(nll, bounds=(-5, 5), method="bounded").x))
