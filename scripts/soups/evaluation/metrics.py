"""Accuracy from logits, and its uncertainty. Accuracies are fractions."""

from collections.abc import Mapping, Sequence

import numpy as np

REPLICATES = 10_000
CONFIDENCE = 0.95  # of all intervals


def restrict(logits: np.ndarray, members: Sequence[Sequence[int]]) -> np.ndarray:
    """Logits of the classes of a test set.

    The logit of a class is the maximum over the training classes that it stands for.

    Args:
        logits: shape (n, training classes).
        members: training classes of each of the s classes of the set.

    Returns:
        shape (n, s).
    """
    return np.stack([logits[:, list(m)].max(1) for m in members], 1)


def predicted(logits: np.ndarray) -> np.ndarray:
    """Class with the largest logit, int64, shape (n,), or -1 if a logit is NaN or infinite.

    Args:
        logits: shape (n, classes).
    """
    return np.where(np.isfinite(logits).all(1), logits.argmax(1), -1)


def correct(logits: np.ndarray, labels: np.ndarray, members: Sequence[Sequence[int]]) -> np.ndarray:
    """bool, shape (n,): whether the largest restricted logit is that of the label.

    An image whose restricted logits are not all finite counts as wrong.
    """
    return predicted(restrict(logits, members)) == labels


def bootstrap_mean(
    scores: Sequence[np.ndarray], weights: Sequence[float] | None = None, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of a weighted mean over sets of mean scores over images.

    The images of each set are resampled with replacement, independently of the other
    sets (a stratified bootstrap). The count of each distinct score in a resample follows a
    multinomial distribution, so the function draws these counts directly.

    Args:
        scores: per set, a score for each image, such as 0 for wrong and 1 for right. Sets that
            are versions of the same images form one entry: the mean score of each image.
        weights: one per entry, with sum 1. They are equal by default.
        seed: of the resampling.

    Returns:
        the bounds of the central interval that holds a share `CONFIDENCE` of the resamples.
    """
    rng = np.random.default_rng(seed)
    weights = np.full(len(scores), 1 / len(scores)) if weights is None else weights
    means = np.zeros(REPLICATES)
    for score, weight in zip(scores, weights, strict=True):
        values, counts = np.unique(np.asarray(score, float), return_counts=True)
        drawn = rng.multinomial(len(score), counts / len(score), REPLICATES)
        means += weight * (drawn @ values) / len(score)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def by_images(
    right: Mapping[str, np.ndarray], derived: Mapping[str, str]
) -> tuple[list[np.ndarray], list[float]]:
    """Group sets that are versions of the same images, for `bootstrap_mean`.

    Args:
        right: set name to a bool per image.
        derived: name of a derived set to the set that its images were derived from.

    Returns:
        per group, the mean score of each image, and the weight of each group in the plain mean
        over sets.
    """
    groups: dict[str, list[np.ndarray]] = {}
    for name, hits in right.items():
        groups.setdefault(derived.get(name, name), []).append(hits)
    scores = [np.mean(members, axis=0) for members in groups.values()]
    return scores, [len(members) / len(right) for members in groups.values()]
