"""Bootstrap intervals of statistics of many models on the same images.

The functions resample images, models, or both. Their arrays have one observed column followed
by `REPLICATES` resampled columns. A statistic is computed for all columns at once, and
`interval` then turns the columns into bounds.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np

from soups.evaluation import confusion
from soups.evaluation.metric import ACCURACY, Confusion, Metric
from soups.evaluation.metrics import CONFIDENCE

REPLICATES = 2000
CHUNK = 10_000_000  # numbers in memory at a time
USABLE = 0.8  # an interval needs a value in at least this share of the replicates


def counts(n: int, seed: Sequence[int]) -> Iterator[np.ndarray]:
    """Yield how often each of n items is drawn, in chunks of shape (n, replicates).

    The first chunk is one column of ones, for the observed value. The other chunks have
    `REPLICATES` columns together.
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
        values: shape (rows, n). Sums of booleans are exact.
        seed: of the resampling.
    """
    values = np.asarray(values, np.float64)
    return np.concatenate([values @ drawn for drawn in _chunks(values.shape[1], seed)], axis=1)


def scores(codes: np.ndarray, seed: Sequence[int], metric: Confusion) -> np.ndarray:
    """A metric over resampled columns, float64, shape (rows, 1 + REPLICATES).

    Args:
        codes: shape (rows, n), see `confusion`.
        seed: of the resampling.
        metric: of the codes.
    """
    chunks = _chunks(codes.shape[1], seed)
    return np.concatenate(
        [confusion.weighted(metric.score, codes, drawn) for drawn in chunks], axis=1
    )


def _chunks(n: int, seed: Sequence[int]) -> Iterable[np.ndarray]:
    # Small draws are cached, because many models are resampled in the same way.
    return _kept(n, tuple(seed)) if n * REPLICATES <= 2 * CHUNK else counts(n, seed)


@lru_cache(maxsize=4)
def _kept(n: int, seed: tuple[int, ...]) -> list[np.ndarray]:
    return list(counts(n, seed))


def means(
    values: Mapping[str, np.ndarray],
    derived: Mapping[str, str],
    seed: int = 0,
    metric: Metric = ACCURACY,
) -> dict:
    """Mean over the images of every set, for every point, with related sets resampled together.

    Args:
        values: set name to an array of shape (points, n): a bool or a number for each image, or a
            code (`confusion`). For codes, the metric takes the place of the mean.
        derived: name of a derived set to the set that its images were derived from. Both are
            resampled with the same draws.
        seed: of the resampling.
        metric: of codes.

    Returns:
        set name to an array of shape (points, 1 + REPLICATES). The entry ``shifts_mean`` is the
        mean over all sets except ``test``.
    """
    out = {}
    for name, array in values.items():
        drawn = [seed, *derived.get(name, name).encode()]
        coded = array.dtype == confusion.CODE
        out[name] = scores(array, drawn, metric) if coded else totals(array, drawn) / array.shape[1]
    shifts = [array for name, array in out.items() if name != "test"]
    return out | ({"shifts_mean": np.mean(shifts, axis=0)} if shifts else {})


def pair_weights(a: Sequence[str], b: Sequence[str], seed: int = 0) -> np.ndarray:
    """Weights of pairs when models are drawn with replacement, shape (pairs, 1 + REPLICATES).

    Pairs that share a model are not independent, so the function draws models instead of pairs.
    The weight of a pair is the product of the counts of its two models (Owen's pigeonhole
    bootstrap).

    Args:
        a, b: the first and the second model of each pair.
        seed: of the resampling.
    """
    models = sorted({*a, *b})
    drawn = np.concatenate(list(counts(len(models), [seed, 1])), axis=1)
    index = {name: i for i, name in enumerate(models)}
    return drawn[[index[name] for name in a]] * drawn[[index[name] for name in b]]


def average(values: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Weighted mean over the first axis, shape (1 + REPLICATES,), NaN where every weight is 0."""
    weights = np.ones_like(values) if weights is None else weights
    with np.errstate(invalid="ignore"):
        return (values * weights).sum(0) / weights.sum(0)


def rank_correlation(x: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Spearman's correlation of every column, shape (1 + REPLICATES,).

    Args:
        x, y: shape (points, 1 + REPLICATES). The points of a column are ranked.
        weights: the same shape.
    """
    from scipy.stats import rankdata  # The import takes half a second.

    # Equal differences of accuracies must be ties, even if their last bits differ.
    x, y = (rankdata(values.round(9), axis=0) for values in np.broadcast_arrays(x, y))
    weights = np.ones_like(x) if weights is None else weights
    x, y = (values - average(values, weights) for values in (x, y))
    with np.errstate(invalid="ignore", divide="ignore"):
        return average(x * y, weights) / np.sqrt(average(x * x, weights) * average(y * y, weights))


def slope(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Slope of the least-squares line of y on x of every column, shape (1 + REPLICATES,).

    Args:
        x, y, weights: shape (points, 1 + REPLICATES).
    """
    x, y = (values - average(values, weights) for values in (x, y))
    with np.errstate(invalid="ignore", divide="ignore"):
        return average(x * y, weights) / average(x * x, weights)


def interval(columns: np.ndarray, biased: bool = False) -> tuple[float, float, float]:
    """The observed value and the bounds of its central 95% percentile interval.

    Resampling adds noise to noisy data, which moves correlations and their intervals towards 0.
    If few models are resampled, some replicates have no value. The bounds are NaN unless a share
    `USABLE` of the replicates has a value.

    Args:
        columns: shape (1 + REPLICATES,), the observed value first.
        biased: whether noise pushes the statistic to one side, as it does with ECE. The bias is
            estimated as the mean of the replicates minus the observed value. It is subtracted
            from the value once and from the bounds twice.
    """
    observed, drawn = float(columns[0]), columns[1:]
    drawn = drawn[np.isfinite(drawn)]
    if not np.isfinite(observed) or len(drawn) < USABLE * REPLICATES:
        return observed, np.nan, np.nan
    bias = float(drawn.mean()) - observed if biased else 0.0
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail]) - 2 * bias
    return observed - bias, float(low), float(high)


def student(values: np.ndarray) -> tuple[float, float, float]:
    """The mean of independent values, and the bounds of its 95% interval by Student's t.

    Args:
        values: shape (n,), such as the effect in each of n sweeps. The bounds are NaN below two
            values, and so is the mean of none.
    """
    return pooled(values, np.ones(len(values)), np.zeros(len(values)))


def half_width(n: int) -> float:
    """Half of Student's 95% interval for the mean of n values, in standard deviations of a value.

    It is NaN below two values.
    """
    from scipy.special import stdtrit  # The import is slow, and few jobs need it.

    return float(stdtrit(n - 1, (1 + CONFIDENCE) / 2) / n**0.5) if n > 1 else np.nan


def pooled(
    averages: np.ndarray, sizes: np.ndarray, spreads: np.ndarray
) -> tuple[float, float, float]:
    """`student` for values of which only the mean, the number and the spread of groups are known.

    Args:
        averages: the mean of the values of each group, shape (groups,).
        sizes: the number of values of each group.
        spreads: the standard deviation of the values of each group, 0 for a group of one value.
    """
    n = int(sizes.sum())
    mean = float(sizes @ averages / n) if n else np.nan
    squares = float((sizes - 1) @ spreads**2 + sizes @ (averages - mean) ** 2)
    half = half_width(n) * (squares / (n - 1)) ** 0.5 if n > 1 else np.nan
    return mean, mean - half, mean + half
