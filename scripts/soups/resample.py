"""Intervals of what is computed from many models on the same images, by resampling both.

Everything has one observed column and `REPLICATES` resampled ones, so that any function of
accuracies can be applied to all columns at once and be given an interval at the end.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import rankdata

REPLICATES = 2000
LEVEL = 0.95


def counts(n: int, seed: Sequence[int]) -> np.ndarray:
    """How often each of n images is drawn, shape (n, 1 + REPLICATES); once in the first column."""
    rng = np.random.default_rng(list(seed))
    drawn = rng.multinomial(n, np.full(n, 1 / n), REPLICATES).T
    return np.concatenate([np.ones((n, 1), drawn.dtype), drawn], 1).astype(np.float32)


def means(values: Mapping[str, np.ndarray], derived: Mapping[str, str], seed: int = 0) -> dict:
    """Mean over images of every point in every set; versions of the same images go together.

    Args:
        values: set name to shape (points, n), right or wrong or any number per image.
        derived: set to the set its images were derived from.

    Returns:
        set name to shape (points, 1 + REPLICATES); and ``shifts_mean``, over all but ``test``.
    """
    drawn: dict[tuple, np.ndarray] = {}
    out = {}
    for name, array in values.items():
        n = array.shape[1]
        source = derived.get(name, name)
        if (source, n) not in drawn:
            drawn[source, n] = counts(n, [seed, *source.encode()]) / n
        out[name] = np.asarray(array, np.float32) @ drawn[source, n]
    shifts = [array for name, array in out.items() if name != "test"]
    return out | ({"shifts_mean": np.mean(shifts, axis=0)} if shifts else {})


def pair_weights(a: Sequence[str], b: Sequence[str], seed: int = 0) -> np.ndarray:
    """Weights of pairs when models are drawn with replacement, shape (pairs, 1 + REPLICATES).

    Pairs that share a model are not independent, so models are drawn, not pairs: a pair
    counts as often as its two models were drawn, multiplied (Owen's pigeonhole bootstrap).
    """
    models = sorted({*a, *b})
    drawn = counts(len(models), [seed, 1])
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
    x, y = (rankdata(values, axis=0) for values in np.broadcast_arrays(x, y))
    weights = np.ones_like(x) if weights is None else weights
    x, y = (values - average(values, weights) for values in (x, y))
    with np.errstate(invalid="ignore", divide="ignore"):
        return average(x * y, weights) / np.sqrt(average(x * x, weights) * average(y * y, weights))


def interval(columns: np.ndarray) -> tuple[float, float, float]:
    """The observed value and the bounds of its central 95% percentile interval."""
    observed, drawn = float(columns[0]), columns[1:]
    drawn = drawn[np.isfinite(drawn)]
    if not np.isfinite(observed) or len(drawn) < REPLICATES / 2:
        return observed, np.nan, np.nan
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return observed, float(low), float(high)
