"""Calibration of a model's probabilities: expected calibration error, likelihood, Brier score.

The expected calibration error compares confidence with accuracy, whatever the metric of the
experiment.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import erf, log_softmax, softmax

from soups.evaluation.logits import CachedLogits
from soups.evaluation.metrics import restrict
from soups.evaluation.resampling import interval, totals

BINS = 15
MASS_BINS = (10, 15, 20)  # numbers of bins of equal mass


def scores(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Measure the calibration of predicted probabilities.

    Args:
        logits: shape (n, classes).
        labels: shape (n,).

    Returns:
        a dictionary with four entries. ``ece`` is the expected calibration error over `BINS`
        bins of equal width (Guo et al., 2017), and ``ece_mass`` over as many of equal mass, as in
        the paper. ``nll`` is the mean negative log-likelihood, in
        nats. ``brier`` is the mean squared distance between the probabilities and the one-hot
        label, summed over classes, which lies between 0 and 2.
    """
    logs = log_softmax(np.asarray(logits, np.float64), axis=1)
    probabilities = np.exp(logs)
    rows = np.arange(len(labels))
    target = np.zeros_like(probabilities)
    target[rows, labels] = 1
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    return {
        "ece": ece(confidence, right),
        "ece_mass": ece(confidence, right, equal_mass(confidence, BINS)),
        "nll": float(-logs[rows, labels].mean()),
        "brier": float(((probabilities - target) ** 2).sum(1).mean()),
    }


def ece(confidence: np.ndarray, right: np.ndarray, index: np.ndarray | None = None) -> float:
    """Mean distance between accuracy and confidence over bins, weighted by images per bin.

    Args:
        confidence: probability of the predicted class, shape (n,).
        right: bool, shape (n,): whether the predicted class is the label.
        index: the bin of every image, by default of bins of equal width.
    """
    confidence, accuracy, count = reliability(confidence, right, index)
    return float((count * np.abs(confidence - accuracy)).sum() / count.sum())


def debiased_ece(
    confidence: np.ndarray,
    right: np.ndarray,
    seed: int = 0,
    indices: Sequence[np.ndarray] | None = None,
) -> np.ndarray:
    """ECE without the bias that noise adds, for the observed and for resampled images.

    A bin contributes the mean of |gap + noise|, which is larger than |gap|. Even a perfectly
    calibrated model therefore has an ECE above 0. Resampling adds noise a second time, so a
    resampled ECE is larger still. This function assumes normal noise with the standard error of
    each bin and subtracts what that noise adds to the bin.

    Args:
        confidence, right: as in `ece`.
        seed: of the resampling. The same seed draws the same images for every model.
        indices: the bin of every image, once for each kind of bins. By default of bins of equal
            width alone.

    Returns:
        shape (1 + `resampling.REPLICATES`,), the observed value first. With ``indices``, a row
        of that shape for each.
    """
    n, apart = len(confidence), confidence - right
    kinds = [_bins(confidence)] if indices is None else indices
    sums = []
    for index in kinds:
        part = np.zeros((2, index.max() + 1, n))
        part[:, index, np.arange(n)] = apart, apart**2
        sums.append(part.reshape(-1, n))
    ends = np.cumsum([len(part) for part in sums])[:-1]
    drawn = np.split(totals(np.concatenate(sums), [seed]) / n, ends)
    found = np.stack([_without_noise(*np.split(part, 2), n) for part in drawn])
    return found[0] if indices is None else found


def _without_noise(gaps: np.ndarray, squares: np.ndarray, n: int) -> np.ndarray:
    noise = squares / n
    noise[:, 1:] *= 2  # A resample has the noise of the sample and its own.
    error = np.sqrt(noise) + 1e-12
    true = np.sqrt(np.maximum(gaps**2 - noise, 0))
    # The mean of |true + noise| is that of a folded normal distribution.
    ratio = true / error / np.sqrt(2)
    mean = error * np.sqrt(2 / np.pi) * np.exp(-(ratio**2)) + true * erf(ratio)
    return (np.abs(gaps) - (mean - true)).sum(0)


def equal_mass(confidence: np.ndarray, bins: int) -> np.ndarray:
    """The bin of every image, where bins hold equal numbers of images, by rising confidence."""
    rank = np.empty(len(confidence), int)
    rank[np.argsort(confidence, kind="stable")] = np.arange(len(confidence))
    return rank * bins // len(confidence)


def kinds_of_bins(confidence: np.ndarray) -> dict[str, np.ndarray]:
    """The bins that methods are compared by: the end of a column's name to every image's bin."""
    mass = {f"_mass{bins}": equal_mass(confidence, bins) for bins in MASS_BINS}
    return {"": _bins(confidence)} | mass


def _bins(confidence: np.ndarray) -> np.ndarray:
    # Bins are open at the lower end and closed at the upper end, as in Guo et al.
    return np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)


def reliability(
    confidence: np.ndarray, right: np.ndarray, index: np.ndarray | None = None
) -> tuple[np.ndarray, ...]:
    """Mean confidence, accuracy and number of images of every bin that is not empty.

    Args:
        confidence, right, index: as in `ece`.
    """
    index = _bins(confidence) if index is None else index
    count = np.bincount(index, minlength=BINS)
    filled = count > 0
    sums = (np.bincount(index, values, BINS)[filled] for values in (confidence, right))
    means = [values / count[filled] for values in sums]
    return means[0], means[1], count[filled]


def temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The divisor of the logits that maximises the likelihood of the labels (Guo et al., 2017)."""
    logits, rows = np.asarray(logits, np.float64), np.arange(len(labels))

    def nll(log_t: float) -> float:
        return -log_softmax(logits / np.exp(log_t), axis=1)[rows, labels].mean()

    return float(np.exp(minimize_scalar(nll, bounds=(-5, 5), method="bounded").x))


def tables(
    cached: CachedLogits, methods: Iterable[tuple[str, list[str]]]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Build the tables of calibration and reliability.

    Args:
        cached: the logits of every model.
        methods: rows of the methods table, the best individual model first, each with the
            models whose mean it reports, see `logits.models_of`.

    Returns:
        a table with a row per method and set: ``n`` images, ``temperature``, the scores of
        `scores`, and the same scores ``_scaled`` by the temperature. The rows of the test set
        also have ``ece_gain``: the debiased ECE of the first method minus that of this method,
        with its 95% bootstrap bounds. The columns ``ece_gain_mass10``, ``…15`` and ``…20`` are the
        same for bins of equal mass. And a table with a row per bin on the test set, for every
        method that is a single model: ``confidence``, ``accuracy`` and ``n``.
    """
    reference = None
    rows, bins = [], []
    for method, models in methods:
        each = [_scores_by_set(cached, model) for model in models]
        for data, versions in zip(cached.sets, zip(*each, strict=True), strict=True):
            mean = pd.DataFrame(versions).mean().to_dict()
            rows.append({"method": method, "set": data.name, "n": len(data.labels)} | mean)
        predicted = [_on_test_set(cached, model) for model in models]
        binned = [kinds_of_bins(confidence) for confidence, _ in predicted]
        errors = np.mean(
            [
                debiased_ece(*values, indices=list(kinds.values()))
                for values, kinds in zip(predicted, binned, strict=True)
            ],
            axis=0,
        )
        reference = errors if reference is None else reference
        gain = {}
        for kind, apart in zip(binned[0], reference - errors, strict=True):
            names = [f"ece_gain{kind}{end}" for end in ("", "_lo", "_hi")]
            gain |= dict(zip(names, interval(apart, biased=True), strict=True))
        next(row for row in rows if row["method"] == method and row["set"] == "test").update(gain)
        if len(models) == 1:
            for confidence, accuracy, n in zip(*reliability(*predicted[0]), strict=True):
                row = {"method": method, "confidence": confidence, "accuracy": accuracy, "n": n}
                bins.append(row)
    return pd.DataFrame(rows), pd.DataFrame(bins)


def _on_test_set(cached: CachedLogits, model: str) -> tuple[np.ndarray, np.ndarray]:
    """Probability of the predicted class on the test set, and whether that class is the label."""
    data, logits = next((d, logits) for d, logits in cached.tests(model) if d.name == "test")
    probabilities = softmax(restrict(logits, data.members).astype(np.float64), axis=1)
    return probabilities.max(1), probabilities.argmax(1) == data.labels


def _scores_by_set(cached: CachedLogits, model: str) -> list[dict]:
    """The held-out temperature of a model, and its scores on each set before and after scaling."""
    divisor = temperature(cached.heldout(model), cached.heldout_labels)
    rows = []
    for data, logits in cached.tests(model):
        logits = restrict(logits, data.members)
        scaled = scores(logits / divisor, data.labels)
        rows.append(
            {"temperature": divisor}
            | scores(logits, data.labels)
            | {f"{name}_scaled": value for name, value in scaled.items()}
        )
    return rows
