"""Does a model know how sure it can be? Expected calibration error, likelihood, Brier score."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

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


def resampled_ece(confidence: np.ndarray, right: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """`ece` of resampled images.

    Args:
        confidence, right: shape (n,).
        counts: how often each image is drawn, shape (n, replicates).

    Returns:
        shape (replicates,).
    """
    sums = np.zeros((BINS, len(confidence)))
    sums[_bins(confidence), np.arange(len(confidence))] = confidence - right
    return np.abs(sums @ counts).sum(0) / counts.sum(0)


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
