"""Metrics that are functions of a confusion matrix, such as the Matthews correlation.

Such a metric is no mean of scores of examples. Therefore the outcome of an example is a *code*,
which holds its label and its prediction. Arrays of codes have shape (n,), or (rows, n) with a row
for each of several models or versions of the same examples. A metric of several rows is the mean
of the metrics of the rows.

Tallies are counts per class, of shape (classes, columns), for many resamples of the examples at
once: ``hit`` (examples that are predicted rightly), ``true`` (examples with the label) and
``guessed`` (examples with the prediction). A `Score` turns tallies into a value per column.
"""

from collections.abc import Callable

import numpy as np
from scipy.sparse import csr_array

Score = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

CODE = np.uint32
BITS = 16  # of a class in a code


def accuracy(hit: np.ndarray, true: np.ndarray, guessed: np.ndarray) -> np.ndarray:
    """Share of the examples whose prediction is the label."""
    return hit.sum(0) / true.sum(0)


def matthews(hit: np.ndarray, true: np.ndarray, guessed: np.ndarray) -> np.ndarray:
    """Matthews correlation of labels and predictions for any number of classes (Gorodkin, 2004).

    It is 0 by convention if all labels or all predictions are of one class.
    """
    n = true.sum(0)
    covered = n * hit.sum(0) - (true * guessed).sum(0)
    none = n - guessed.sum(0)  # Examples without a prediction form a class of predictions.
    spread = (n**2 - (guessed**2).sum(0) - none**2) * (n**2 - (true**2).sum(0))
    return np.where(spread > 0, covered / np.sqrt(np.where(spread > 0, spread, 1)), 0.0)


def f1(hit: np.ndarray, true: np.ndarray, guessed: np.ndarray) -> np.ndarray:
    """F1 of the last of two classes, or 0 if neither a label nor a prediction is of this class."""
    return _f1_by_class(hit, true, guessed)[1]


def macro_f1(hit: np.ndarray, true: np.ndarray, guessed: np.ndarray) -> np.ndarray:
    """Mean F1 over the classes that occur as a label or as a prediction."""
    return _f1_by_class(hit, true, guessed).sum(0) / (true + guessed > 0).sum(0)


def accuracy_and_f1(hit: np.ndarray, true: np.ndarray, guessed: np.ndarray) -> np.ndarray:
    """Mean of accuracy and F1, as the paper scores MRPC."""
    return (accuracy(hit, true, guessed) + f1(hit, true, guessed)) / 2


def _f1_by_class(hit: np.ndarray, true: np.ndarray, guessed: np.ndarray) -> np.ndarray:
    return 2 * hit / np.maximum(true + guessed, 1)


def encode(guesses: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Codes, shape (n,).

    Args:
        guesses: predicted class, or -1 for an example without a prediction, shape (n,).
        labels: shape (n,).
    """
    return ((np.asarray(labels, np.int64) << BITS) | (np.asarray(guesses) + 1)).astype(CODE)


def decode(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The predictions and the labels of codes, each of their shape."""
    codes = codes.astype(np.int64)
    return (codes & ((1 << BITS) - 1)) - 1, codes >> BITS


def right(codes: np.ndarray) -> np.ndarray:
    """Whether predictions are labels, as a share over rows, shape (n,)."""
    guesses, labels = decode(np.atleast_2d(codes))
    return (guesses == labels).mean(0)


def tallier(codes: np.ndarray, classes: int) -> csr_array:
    """The matrix, shape (3 · classes, n), whose product with weights (n, columns) is tallies."""
    guesses, labels = decode(codes)
    guessed, hits = np.flatnonzero(guesses >= 0), np.flatnonzero(guesses == labels)
    rows = labels[hits], classes + labels, 2 * classes + guesses[guessed]
    columns = np.concatenate([hits, np.arange(len(codes)), guessed])
    shape = 3 * classes, len(codes)
    return csr_array((np.ones(len(columns)), (np.concatenate(rows), columns)), shape=shape)


def number_of_classes(codes: np.ndarray) -> int:
    """The smallest number of classes, at least 2, that codes can be from."""
    guesses, labels = decode(codes)
    return 1 + max(1, guesses.max(initial=0), labels.max(initial=0))


def weighted(score: Score, codes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The metric of every row for examples with whole weights, shape (rows, columns).

    Args:
        score: the metric.
        codes: shape (rows, n).
        weights: how often each example counts, shape (n, columns).
    """
    classes = number_of_classes(codes)
    known: dict[bytes, np.ndarray] = {}
    for row in codes:
        # Neighbouring points of a curve are often the same soup, so equal rows are computed once.
        if (key := row.tobytes()) not in known:
            known[key] = score(*np.split(tallier(row, classes) @ weights, 3))
    return np.stack([known[row.tobytes()] for row in codes])


def value(score: Score, codes: np.ndarray) -> float:
    """The metric of codes of shape (n,) or (rows, n)."""
    codes = np.atleast_2d(codes)
    return float(weighted(score, codes, np.ones((codes.shape[1], 1))).mean())
