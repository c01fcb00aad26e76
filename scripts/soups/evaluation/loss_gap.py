"""The difference between the losses of a soup and an ensemble of two models, and its approximation.

Losses are cross-entropies of β times the logits, in nats. The paper (section 4) approximates the
difference for two models and θ_α = (1 − α) θ₁ + α θ₂:

    L_soup(α) − L_ens(α) ≈ α(1 − α)/2 · (−d²L_soup/dα² + β² E_x Var_{Y~softmax(βf)}[Δf_Y(x)])
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import log_softmax, softmax


def loss(logits: np.ndarray, labels: np.ndarray, beta: float) -> np.ndarray:
    """Cross-entropy of every image, float64, shape (n,).

    Args:
        logits: shape (n, classes).
        labels: shape (n,).
        beta: inverse temperature.
    """
    logits = beta * np.asarray(logits, np.float64)
    return -log_softmax(logits, axis=1)[np.arange(len(labels)), labels]


def variance(logits: np.ndarray, difference: np.ndarray, beta: float) -> np.ndarray:
    """Var_{Y~softmax(βf)}[Δf_Y] of every image, float64, shape (n,).

    Args:
        logits: f, logits of the soup, shape (n, classes).
        difference: Δf, the difference between the logits of the two models, the same shape.
        beta: inverse temperature.
    """
    probabilities = softmax(beta * np.asarray(logits, np.float64), axis=1)
    difference = np.asarray(difference, np.float64)
    mean = (probabilities * difference).sum(1, keepdims=True)
    return (probabilities * (difference - mean) ** 2).sum(1)


def second_difference(
    before: np.ndarray, here: np.ndarray, after: np.ndarray, step: float
) -> np.ndarray:
    """Central estimate of the second derivative from three values that are ``step`` apart."""
    return (before - 2 * here + after) / step**2


def approximation(
    alpha: float, curvature: np.ndarray, beta: float, variance: np.ndarray
) -> np.ndarray:
    """The right-hand side of the approximation, which is linear and so applies to each image."""
    return alpha * (1 - alpha) / 2 * (-curvature + beta**2 * variance)


def at(
    i: int,
    alphas: Sequence[float],
    soups: Sequence[np.ndarray],
    ensemble: np.ndarray,
    labels: np.ndarray,
    beta: float,
) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """The true and the approximate gap at point i of a path, which are NaN at its ends.

    The second derivative is estimated from the points one step before and after. As a check,
    the column ``curvature_wide`` has the estimate from the points two steps away.

    Args:
        i: index of the point.
        alphas: α of all points, evenly spaced.
        soups: logits of all points, shape (n, classes) each. The first and the last point are
            the two models.
        ensemble: logits of the ensemble at point i.
        labels: shape (n,).
        beta: inverse temperature that calibrates the soup at point i.

    Returns:
        the true and the approximate gap of every image, both float32 of shape (n,), and a
        dictionary of columns for a table.
    """
    empty = np.full(len(labels), np.nan)

    def curvature(away: int) -> np.ndarray:
        if not away <= i < len(alphas) - away:
            return empty
        near = (loss(soups[j], labels, beta) for j in (i - away, i, i + away))
        return second_difference(*near, away * (alphas[1] - alphas[0]))

    here, wide = curvature(1), curvature(2)
    mine = theirs = spread = empty
    if 0 < i < len(alphas) - 1:
        mine, theirs = loss(soups[i], labels, beta), loss(ensemble, labels, beta)
        spread = variance(soups[i], soups[-1] - soups[0], beta)
    guess = approximation(alphas[i], here, beta, spread)
    columns = {
        "beta": beta,
        "soup_loss": mine.mean(),
        "ensemble_loss": theirs.mean(),
        "curvature": here.mean(),
        "curvature_wide": wide.mean(),
        "variance": spread.mean(),
        "gap": (mine - theirs).mean(),
        "gap_approximation": guess.mean(),
    }
    columns = {name: round(float(value), 6) for name, value in columns.items()}
    return (mine - theirs).astype(np.float32), guess.astype(np.float32), columns
