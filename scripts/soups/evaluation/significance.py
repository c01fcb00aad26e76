"""Paired tests between methods on the same images."""

from collections.abc import Mapping, Sequence

import numpy as np

from soups.evaluation import confusion, stratified
from soups.evaluation.metric import ACCURACY, Confusion, Metric
from soups.evaluation.metrics import bootstrap_mean, by_images

SIGNIFICANCE = 0.05  # as in the paper
DRAWS = 100_000


def mcnemar(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Exact two-sided McNemar test on paired predictions (paper, appendix).

    Args:
        ours, theirs: bool, shape (n,): right or wrong on the same images.

    Returns:
        the p-value of the null hypothesis that the images on which exactly one method is right
        are equally likely to favour either.
    """
    better, worse = int((ours & ~theirs).sum()), int((~ours & theirs).sum())
    if better + worse == 0:
        return 1.0
    from scipy.stats import binomtest  # The import takes half a second.

    return binomtest(better, better + worse).pvalue


def permutation(
    differences: Sequence[np.ndarray], weights: Sequence[float] | None = None, seed: int = 0
) -> float:
    """Paired permutation test of a weighted mean over sets of mean differences over images.

    Under the null hypothesis, both signs of the difference of an image are equally likely. The
    number of differences of one size that keep their sign follows a binomial distribution, so
    the function draws these numbers directly.

    Args:
        differences: per set, ours minus theirs for each image. Sets that are versions of the
            same images form one entry, see `metrics.by_images`.
        weights: one per entry. They are equal by default.
        seed: of the permutations.

    Returns:
        the two-sided p-value, which is at least 1 / (`DRAWS` + 1).
    """
    rng = np.random.default_rng(seed)
    weights = np.full(len(differences), 1 / len(differences)) if weights is None else weights
    drawn, observed = np.zeros(DRAWS), 0.0
    for difference, weight in zip(differences, weights, strict=True):
        difference = np.asarray(difference, float).round(9)
        sizes, counts = np.unique(np.abs(difference[difference != 0]), return_counts=True)
        unit = weight / len(difference)
        observed += unit * difference.sum()
        for size, count in zip(sizes, counts, strict=True):
            drawn += unit * size * (2 * rng.binomial(count, 0.5, DRAWS) - count)
    extreme = (np.abs(drawn) >= abs(observed) - 1e-12).sum()
    return float((1 + extreme) / (1 + DRAWS))


def compare(
    ours: Mapping[str, np.ndarray],
    theirs: Mapping[str, np.ndarray],
    shifts: Sequence[str],
    derived: Mapping[str, str],
    metric: Metric = ACCURACY,
) -> list[dict]:
    """Compare two methods on the test set and on the mean of the shifts.

    Accuracies are compared by McNemar's test or by a paired permutation test over images. Other
    metrics are compared by a paired permutation test of the metric, see `stratified.permutation`.

    Args:
        ours, theirs: set name to outcomes, see `evaluation.metric`.
        shifts: names of the shifts.
        derived: name of a derived shift, such as a corruption, to the set that its images were
            derived from.
        metric: of the outcomes.

    Returns:
        a row for each measure with ``measure``, ``difference``, its bootstrap bounds ``lo`` and
        ``hi``, ``p``, ``test``, ``n``, and the numbers of images on which ours is ``better`` and
        ``worse``.
    """
    rows = []
    for measure, names in (("test", ["test"]), ("shifts_mean", shifts)):
        if not names:
            continue
        if isinstance(metric, Confusion):
            rows.append({"measure": measure} | _by_confusion(ours, theirs, names, derived, metric))
            continue
        # numpy cannot subtract booleans.
        apart = {name: ours[name].astype(float) - theirs[name].astype(float) for name in names}
        groups, weights = by_images(apart, derived)
        exact = measure == "test" and ours["test"].dtype == theirs["test"].dtype == bool
        low, high = bootstrap_mean(groups, weights)
        rows.append(
            {
                "measure": measure,
                "difference": float(np.mean([values.mean() for values in apart.values()])),
                "lo": low,
                "hi": high,
                "p": mcnemar(ours["test"], theirs["test"])
                if exact
                else permutation(groups, weights),
                "test": "McNemar, exact" if exact else "paired permutation",
                "n": sum(len(values) for values in apart.values()),
                "better": int(sum((values > 0).sum() for values in apart.values())),
                "worse": int(sum((values < 0).sum() for values in apart.values())),
            }
        )
    return rows


def _by_confusion(ours, theirs, names, derived, metric: Confusion) -> dict:
    ours, theirs = ({name: codes[name] for name in names} for codes in (ours, theirs))
    difference, low, high, p = stratified.compare(metric.score, ours, theirs, derived)
    apart = [confusion.right(ours[name]) - confusion.right(theirs[name]) for name in names]
    return {
        "difference": difference,
        "lo": low,
        "hi": high,
        "p": p,
        "test": f"paired permutation, {metric.name}",
        "n": sum(len(values) for values in apart),
        "better": int(sum((values > 0).sum() for values in apart)),
        "worse": int(sum((values < 0).sum() for values in apart)),
    }


def holm(values: Sequence[float]) -> np.ndarray:
    """Correct p-values for multiple comparisons (Holm, 1979)."""
    values = np.asarray(values, float)
    order = np.argsort(values)
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    out = np.empty(len(values))
    out[order] = np.minimum(stepped, 1)
    return out
