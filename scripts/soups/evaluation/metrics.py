"""Accuracy and its uncertainty, from logits. Accuracies are fractions."""

from collections.abc import Mapping, Sequence

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
    scores: Sequence[np.ndarray], weights: Sequence[float] | None = None, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of a weighted mean of several sets' mean scores.

    The images of each set are resampled with replacement, independently of the other
    sets (a stratified bootstrap). How often each distinct score is drawn is multinomial,
    so the resamples are drawn as such.

    Args:
        scores: a score per image and set, e.g. 0 or 1 for wrong or right. Sets that are
            versions of the same images are one entry: the mean score of each image.
        weights: one per entry, summing to 1; equal by default.
        seed: of the resampling.

    Returns:
        bounds of the central 95% interval.
    """
    rng = np.random.default_rng(seed)
    weights = np.full(len(scores), 1 / len(scores)) if weights is None else weights
    means = np.zeros(REPLICATES)
    for score, weight in zip(scores, weights, strict=True):
        values, counts = np.unique(np.asarray(score, float), return_counts=True)
        drawn = rng.multinomial(len(score), counts / len(score), REPLICATES)
        means += weight * (drawn @ values) / len(score)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def by_images(
    right: Mapping[str, np.ndarray], derived: Mapping[str, str]
) -> tuple[list[np.ndarray], list[float]]:
    """Put sets that are versions of the same images together, for `bootstrap_mean`.

    Args:
        right: set name to bool per image.
        derived: set name to the set its images were derived from, where they were.

    Returns:
        a score per image and group, and the groups' weights in the plain mean over sets.
    """
    groups: dict[str, list[np.ndarray]] = {}
    for name, hits in right.items():
        groups.setdefault(derived.get(name, name), []).append(hits)
    scores = [np.mean(members, axis=0) for members in groups.values()]
    return scores, [len(members) / len(right) for members in groups.values()]
