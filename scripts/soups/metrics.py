"""Accuracy and its uncertainty, from logits. Accuracies are fractions."""

from collections.abc import Sequence

import numpy as np

REPLICATES = 10_000
LEVEL = 0.95


def restrict(logits: np.ndarray, members: Sequence[Sequence[int]]) -> np.ndarray:
    """Logits of a test set's own classes: the maximum over the training classes each stands for.

    Args:
        logits: shape (n, training classes).
        members: training classes per class of the set, length s.

    Returns:
        shape (n, s).
    """
    return np.stack([logits[:, list(m)].max(1) for m in members], 1)


def correct(logits: np.ndarray, labels: np.ndarray, members: Sequence[Sequence[int]]) -> np.ndarray:
    """bool, shape (n,): is the largest restricted logit the label's?"""
    return restrict(logits, members).argmax(1) == labels


def bootstrap_mean(
    accuracies: Sequence[float], counts: Sequence[int], seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the plain mean of several sets' accuracies.

    Resampling the images of a set with replacement makes its number of correct ones
    binomial, so the resamples are drawn as such; the sets are resampled independently
    (a stratified bootstrap).

    Args:
        accuracies: one per set.
        counts: images per set.
        seed: of the resampling.

    Returns:
        bounds of the central 95% interval.
    """
    rng = np.random.default_rng(seed)
    resampled = [
        rng.binomial(n, a, REPLICATES) / n for a, n in zip(accuracies, counts, strict=True)
    ]
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(np.mean(resampled, axis=0), [tail, 1 - tail])
    return float(low), float(high)
