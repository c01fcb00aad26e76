"""How the gain of a midpoint goes with the angle, norm and disagreement of two models (claim 8)."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

GAIN = "gain"
# Column to what it is in tables.
MEASURES = {
    "angle": "angle between the two models",
    "norm": "mean distance of the two models from θ₀",
    "disagreement": "share of test images on which they disagree",
}


def midpoints(pairs: pd.DataFrame, predictions: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """A row for each pair of models that has a midpoint.

    Args:
        pairs: the table ``pairs`` of a run, with the points α = 0, ½ and 1 of each line.
        predictions: model to its predicted classes on the test set, shape (n,).

    Returns:
        columns ``model_1``, ``model_2``, ``angle`` in degrees, ``norm``, ``disagreement`` as a
        share of the images, and ``gain``: the test accuracy of the midpoint minus the mean of its
        ends, in points.
    """
    keys = ["model_1", "model_2"]
    line = pairs.pivot_table(index=keys, columns="alpha", values="test")
    middle = pairs[pairs["alpha"] == 0.5].set_index(keys)
    apart = [float(np.mean(predictions[one] != predictions[two])) for one, two in middle.index]
    columns = {
        "angle": middle["angle"],
        "norm": (middle["distance_1"] + middle["distance_2"]) / 2,
        "disagreement": pd.Series(apart, middle.index),
        GAIN: 100 * (line[0.5] - (line[0.0] + line[1.0]) / 2),
    }
    return pd.DataFrame(columns).round(6).reset_index()


def correlations(table: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """Rank correlation of each measure with the gain, and the same given the other measures.

    A partial rank correlation is that of the residuals of the ranks, after a linear regression on
    the ranks of the other measures.

    Args:
        table: `midpoints` of one sweep.

    Returns:
        measure to its rank correlation and its partial rank correlation.
    """
    ranks = table[[*MEASURES, GAIN]].rank()
    ranks -= ranks.mean()
    found = {}
    for name in MEASURES:
        others = ranks[[other for other in MEASURES if other != name]].to_numpy()
        both = ranks[[name, GAIN]].to_numpy()
        rest = both - others @ np.linalg.lstsq(others, both, rcond=None)[0]
        found[name] = (_correlation(both), _correlation(rest))
    return found


def _correlation(columns: np.ndarray) -> float:
    return float(np.corrcoef(columns, rowvar=False)[0, 1])
