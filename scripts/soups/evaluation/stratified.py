"""Bootstrap intervals and paired tests of metrics that are functions of a confusion matrix.

Examples are resampled or exchanged within each set, independently of the other sets. Sets that are
versions of the same examples are resampled and exchanged together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from soups.evaluation.confusion import Score, number_of_classes, tallier, value, weighted
from soups.evaluation.metrics import CONFIDENCE, REPLICATES

DRAWS = 10_000  # permutations of a paired test
CHUNK = 10_000_000  # numbers in memory at a time


@dataclass
class Group:
    """Sets that are versions of the same examples.

    Attributes:
        codes: a row for each set and model, shape (rows, n).
        shares: the weight of each row in the mean over all sets of all groups, shape (rows,).
    """

    codes: np.ndarray
    shares: np.ndarray


def groups(codes: Mapping[str, np.ndarray], derived: Mapping[str, str]) -> list[Group]:
    """Group sets that are versions of the same examples.

    Args:
        codes: set name to codes.
        derived: name of a derived set to the set that its examples were derived from.
    """
    found: dict[str, list[np.ndarray]] = {}
    for name, rows in codes.items():
        found.setdefault(derived.get(name, name), []).append(np.atleast_2d(rows))
    return [
        Group(
            np.concatenate(sets),
            np.concatenate([np.full(len(rows), 1 / (len(codes) * len(rows))) for rows in sets]),
        )
        for sets in found.values()
    ]


def bootstrap(score: Score, found: Sequence[Group], seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap interval of a weighted mean of the metric over the rows of groups.

    The examples of each group are resampled with replacement, independently of the other groups
    (a stratified bootstrap). All rows of a group see the same draws, so that a difference between
    rows is paired. The count of each distinct column in a resample follows a multinomial
    distribution, so the function draws these counts directly.

    Args:
        score: the metric.
        found: see `groups`. Negative shares give the interval of a difference.
        seed: of the resampling.

    Returns:
        the bounds of the central interval that holds a share `CONFIDENCE` of `REPLICATES`
        resamples.
    """
    rng = np.random.default_rng(seed)
    drawn = np.zeros(REPLICATES)
    for group in found:
        columns, counts = np.unique(group.codes, axis=1, return_counts=True)
        n, size = counts.sum(), max(1, CHUNK // len(counts))
        for first in range(0, REPLICATES, size):
            part = slice(first, min(first + size, REPLICATES))
            times = rng.multinomial(n, counts / n, part.stop - first).T.astype(float, order="C")
            drawn[part] += group.shares @ weighted(score, columns, times)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return float(low), float(high)


def permutation(score: Score, pairs: Sequence[tuple[Group, Group]], seed: int = 0) -> float:
    """Paired permutation test of the difference between two methods.

    Under the null hypothesis, the predictions of the two methods for an example may be exchanged.
    All versions of an example are exchanged together. The number of exchanged examples among
    those with equal columns follows a binomial distribution, so the function draws these numbers.

    Args:
        score: the metric.
        pairs: per group, ours and theirs with the same shape, see `paired_groups`.
        seed: of the permutations.

    Returns:
        the two-sided p-value, which is at least 1 / (`DRAWS` + 1).
    """
    rng = np.random.default_rng(seed)
    drawn, observed = np.zeros(DRAWS), 0.0
    for ours, theirs in pairs:
        both = np.concatenate([ours.codes, theirs.codes])
        columns, counts = np.unique(both, axis=1, return_counts=True)
        differ = (columns[: len(ours.codes)] != columns[len(ours.codes) :]).any(0)
        size = max(1, CHUNK // len(counts))
        observed += _difference(score, columns, counts, ours.shares, np.zeros((len(counts), 1)))[0]
        for first in range(0, DRAWS, size):
            part = slice(first, min(first + size, DRAWS))
            exchanged = np.zeros((len(counts), part.stop - first))
            shape = part.stop - first, differ.sum()
            exchanged[differ] = rng.binomial(counts[differ], 0.5, shape).T
            drawn[part] += _difference(score, columns, counts, ours.shares, exchanged)
    extreme = (np.abs(drawn) >= abs(observed) - 1e-12).sum()
    return float((1 + extreme) / (1 + DRAWS))


def _difference(
    score: Score,
    columns: np.ndarray,
    counts: np.ndarray,
    shares: np.ndarray,
    exchanged: np.ndarray,
) -> np.ndarray:
    """Ours minus theirs in the weighted mean of the metric, after exchanges, shape (draws,).

    Args:
        score: the metric.
        columns: distinct columns of the codes, first the rows of ours, then those of theirs.
        counts: number of examples with each column.
        shares: weight of each row of ours.
        exchanged: number of these examples that are exchanged, shape (distinct columns, draws).
    """
    classes, total = number_of_classes(columns), np.zeros(exchanged.shape[1])
    for one, two, share in zip(*np.split(columns, 2), shares, strict=True):
        mine, other = tallier(one, classes), tallier(two, classes)
        moved = (other - mine) @ exchanged
        for tally, sign in ((mine @ counts, 1), (other @ counts, -1)):
            total += sign * share * score(*np.split(tally[:, None] + sign * moved, 3))
    return total


def paired_groups(
    ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray], derived: Mapping[str, str]
) -> list[tuple[Group, Group]]:
    """Groups of two methods with the same shape.

    Rows are repeated where the two methods stand for different numbers of models.
    """
    even = [{}, {}]
    for name in ours:
        pair = [np.atleast_2d(codes[name]) for codes in (ours, theirs)]
        rows = np.lcm(*(len(codes) for codes in pair))
        for side, codes in zip(even, pair, strict=True):
            side[name] = np.tile(codes, (rows // len(codes), 1))
    return list(zip(*(groups(side, derived) for side in even), strict=True))


def compare(
    score: Score,
    ours: Mapping[str, np.ndarray],
    theirs: Mapping[str, np.ndarray],
    derived: Mapping[str, str],
) -> tuple[float, float, float, float]:
    """The difference between two methods in the plain mean of the metric over sets.

    Args:
        score: the metric.
        ours, theirs: set name to codes for the same examples.
        derived: see `groups`.

    Returns:
        the difference, the bounds of its stratified paired bootstrap interval, and the p-value of
        the paired permutation test.
    """
    pairs = paired_groups(ours, theirs, derived)
    joined = [
        Group(np.concatenate([a.codes, b.codes]), np.concatenate([a.shares, -b.shares]))
        for a, b in pairs
    ]
    means = [np.mean([value(score, codes[name]) for name in ours]) for codes in (ours, theirs)]
    return float(means[0] - means[1]), *bootstrap(score, joined), permutation(score, pairs)
