"""What held-out predictions say about a model: chance, another class order, equality."""

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.stats import binomtest

from soups.doctor import thresholds
from soups.evaluation.metrics import bootstrap_mean


def chance(guesses: np.ndarray, labels: np.ndarray) -> float:
    """Accuracy of a guess that names each class as often as a model does.

    A model that always names the most frequent class has this accuracy. A model that names rare
    classes too may learn much without a higher accuracy than that.

    Args:
        guesses, labels: predicted and true class, shape (n,).
    """
    classes = 1 + max(guesses.max(), labels.max())
    named, true = (np.bincount(of, minlength=classes) for of in (guesses, labels))
    return float(named @ true) / len(labels) ** 2


def gained(accuracy: float, guess: float) -> float:
    """Share of a guess's errors that a model avoids (Cohen's κ), at most 1.

    Args:
        accuracy: accuracy of the model.
        guess: see `chance`.
    """
    return (accuracy - guess) / (1 - guess) if guess < 1 else 0.0


def is_at_chance(right: np.ndarray, guess: float, best: float) -> bool:
    """Whether a model is no better than guessing, or hardly better.

    Few held-out examples cannot tell a fair model from a guess. Therefore a model whose accuracy
    passes for a guess must also be nearer to chance than to the best model.

    Args:
        right: bool, shape (n,): whether each prediction is right.
        guess: see `chance`.
        best: what the best model has `gained`.
    """
    share = gained(right.mean(), guess) / max(best, 1e-9)
    test = binomtest(int(right.sum()), len(right), guess, alternative="greater")
    if test.pvalue > thresholds.CHANCE and share <= 0.5:
        return True
    return bool(share <= thresholds.HARDLY)


def renamed(predictions: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Whether each prediction is right after the best renaming of the model's classes.

    The renaming of each half of the examples is found on the other half, so noise gains nothing.
    Examples of a class are shared evenly between the halves.

    Args:
        predictions, labels: shape (n,).
        classes: number of classes.

    Returns:
        bool, shape (n,).
    """
    order = np.argsort(labels, kind="stable")
    half = np.empty(len(labels), bool)
    half[order] = np.arange(len(labels)) % 2 == 0
    right = np.empty(len(labels), bool)
    for part in (half, ~half):
        counts = np.zeros((classes, classes))
        np.add.at(counts, (predictions[~part], labels[~part]), 1)
        # Where a renaming gains nothing, a class keeps its name.
        _, names = linear_sum_assignment(counts + 1e-3 * np.eye(classes), maximize=True)
        right[part] = names[predictions[part]] == labels[part]
    return right


def has_other_order(right: np.ndarray, after: np.ndarray, best: float) -> bool:
    """Whether a model's classes are in another order than those of the examples.

    Args:
        right: bool, shape (n,): whether each prediction is right.
        after: the same after a renaming of the classes, see `renamed`.
        best: accuracy of the best model.
    """
    low, _ = difference(after, right)
    return low > thresholds.CLASS_ORDER and after.mean() >= thresholds.RENAMED * best


def difference(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float]:
    """The 95% bootstrap interval of a difference of accuracies on the same examples."""
    return bootstrap_mean([ours.astype(float) - theirs.astype(float)])
