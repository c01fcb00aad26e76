"""Gains over the best individual model in the small-data study, and their means over sweeps."""

import pandas as pd

from soups.evaluation.resampling import student
from soups.outcomes import HELPS, HURTS, UNDECIDED
from soups.roles import BEST, ENSEMBLE, GREEDY, LEARNED, UNIFORM

METHODS = (UNIFORM, GREEDY, LEARNED, ENSEMBLE)
MEASURES = ["test", "shifts_mean"]
HELDOUT = "held-out images per class"


def gains(methods: pd.DataFrame) -> pd.DataFrame:
    """Gain of every shown method over the best individual model, in points.

    Args:
        methods: the methods table of a run.

    Returns:
        columns ``method``, ``test`` and ``shifts_mean``.
    """
    rows = methods.set_index("method")[MEASURES]
    present = [name for name in METHODS if name in rows.index]
    return (100 * (rows.loc[present] - rows.loc[BEST])).reset_index()


def drawn(curve: pd.DataFrame) -> pd.DataFrame:
    """Mean gain over the draws of each size of the held-out set, in points.

    Args:
        curve: the table ``heldout_size`` of a run.
    """
    parts = []
    for (size, _), rows in curve.groupby(["per_class", "draw"]):
        parts.append(gains(rows).assign(per_class=size))
    every = pd.concat(parts)
    return every.groupby(["per_class", "method"], sort=False)[MEASURES].mean().reset_index()


def summary(runs: pd.DataFrame, heldout: pd.DataFrame | None) -> pd.DataFrame:
    """Mean gain, Student's 95% interval and verdict of every method in every setting.

    Args:
        runs: `gains` of all runs, with the columns ``axis``, ``value`` and ``seed``.
        heldout: `drawn` of the runs whose held-out set was drawn again, with ``seed``, or None.
    """
    parts = [runs]
    if heldout is not None:
        parts.append(heldout.assign(axis=HELDOUT, value=heldout["per_class"].astype(str)))
    rows = []
    for (axis, value, method), part in pd.concat(parts).groupby(
        ["axis", "value", "method"], sort=False
    ):
        for measure in MEASURES:
            mean, low, high = student(part[measure].to_numpy())
            row = {"axis": axis, "value": value, "method": method, "measure": measure}
            row |= {"sweeps": len(part), "gain": mean, "lo": low, "hi": high}
            rows.append(row | {"verdict": verdict(low, high)})
    return pd.DataFrame(rows).round(3)


def verdict(low: float, high: float) -> str:
    """Whether an interval of gains is above 0, below 0, or neither."""
    return HELPS if low > 0 else HURTS if high < 0 else UNDECIDED
