"""Intervals of what is computed from many models on the same images, by resampling both.

Everything has one observed column and `REPLICATES` resampled ones, so that any function of
accuracies can be applied to all columns at once and be given an interval at the end.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np
from scipy.stats import rankdata

from soups.evaluation.metrics import LEVEL

REPLICATES = 2000
CHUNK = 10_000_000  # numbers in memory at a time
USABLE = 0.8  # share of the replicates that must have a value, for an interval


def counts(n: int, seed: Sequence[int]) -> Iterator[np.ndarray]:
    """How often each of n is drawn, some replicates at a time, shape (n, replicates).

    Together `REPLICATES` columns after a first one in which each is drawn once.
    """
    rng = np.random.default_rng(list(seed))
    yield np.ones((n, 1))
    chunk = max(1, CHUNK // n)
    for first in range(0, REPLICATES, chunk):
        size = min(chunk, REPLICATES - first)
        yield rng.multinomial(n, np.full(n, 1 / n), size).T.astype(np.float64)


def totals(values: np.ndarray, seed: Sequence[int]) -> np.ndarray:
    """Sums over resampled columns, float64, shape (rows, 1 + REPLICATES).

    Args:
        values: shape (rows, n); what is right or wrong is counted exactly.
    """
    values = np.asarray(values, np.float64)
    n = values.shape[1]
    # Small ones are kept: many models are resampled in the same way.
    chunks = _kept(n, tuple(seed)) if n * REPLICATES <= 2 * CHUNK else counts(n, seed)
    return np.concatenate([values @ drawn for drawn in chunks], axis=1)


@lru_cache(maxsize=4)
def _kept(n: int, seed: tuple[int, ...]) -> list[np.ndarray]:
    return list(counts(n, seed))


def means(values: Mapping[str, np.ndarray], derived: Mapping[str, str], seed: int = 0) -> dict:
    """Mean over images of every point in every set; versions of the same images go together.

    Args:
        values: set name to shape (points, n), right or wrong or any number per image.
        derived: set to the set its images were derived from.

    Returns:
        set name to shape (points, 1 + REPLICATES); and ``shifts_mean``, over all but ``test``.
    """
    out = {
        name: totals(array, [seed, *derived.get(name, name).encode()]) / array.shape[1]
        for name, array in values.items()
    }
    shifts = [array for name, array in out.items() if name != "test"]
    return out | ({"shifts_mean": np.mean(shifts, axis=0)} if shifts else {})


def pair_weights(a: Sequence[str], b: Sequence[str], seed: int = 0) -> np.ndarray:
    """Weights of pairs when models are drawn with replacement, shape (pairs, 1 + REPLICATES).

    Pairs that share a model are not independent, so models are drawn, not pairs: a pair
    counts as often as its two models were drawn, multiplied (Owen's pigeonhole bootstrap).
    """
    models = sorted({*a, *b})
    drawn = np.concatenate(list(counts(len(models), [seed, 1])), axis=1)
    index = {name: i for i, name in enumerate(models)}
    return drawn[[index[name] for name in a]] * drawn[[index[name] for name in b]]


def average(values: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Weighted mean over the first axis, shape (1 + REPLICATES,); NaN where all weights are 0."""
    weights = np.ones_like(values) if weights is None else weights
    with np.errstate(invalid="ignore"):
        return (values * weights).sum(0) / weights.sum(0)


def rank_correlation(x: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Spearman's correlation of every column, shape (1 + REPLICATES,).

    Args:
        x, y: shape (points, 1 + REPLICATES); ranks are taken among the points of a column.
        weights: the same shape.
    """
    # Equal differences of accuracies are ties, whatever their last bits say.
    x, y = (rankdata(values.round(9), axis=0) for values in np.broadcast_arrays(x, y))
    weights = np.ones_like(x) if weights is None else weights
    x, y = (values - average(values, weights) for values in (x, y))
    with np.errstate(invalid="ignore", divide="ignore"):
        return average(x * y, weights) / np.sqrt(average(x * x, weights) * average(y * y, weights))


def interval(columns: np.ndarray, biased: bool = False) -> tuple[float, float, float]:
    """The observed value and the bounds of its central 95% percentile interval.

    Resampling adds noise to what is noisy already: correlations are drawn towards 0, and so
    are these intervals. Where few models are resampled, some replicates have no value; without
    a value in most of them (`USABLE`) there are no bounds.

    Args:
        columns: shape (1 + REPLICATES,), the observed value first.
        biased: for a statistic that noise pushes to one side, as it does ECE. As far as the
            replicates are beside the observed value, so far that is taken to be beside the
            truth: the value is moved once by this, the bounds twice.
    """
    observed, drawn = float(columns[0]), columns[1:]
    drawn = drawn[np.isfinite(drawn)]
    if not np.isfinite(observed) or len(drawn) < USABLE * REPLICATES:
        return observed, np.nan, np.nan
    bias = float(drawn.mean()) - observed if biased else 0.0
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail]) - 2 * bias
    return observed - bias, float(low), float(high)
