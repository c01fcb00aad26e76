"""Gains over the best individual model in the small-data study, and their means over sweeps."""

import pandas as pd

from soups.evaluation.resampling import student
from soups.outcomes import HELDOUT_AXIS, HELPS, HURTS, NOT_TESTED, UNDECIDED
from soups.roles import BESIDE, BEST, COMPARED

MEASURES = ["test", "shifts_mean"]
OVER = "over_"  # prefix of columns about the best individual model


def gains(methods: pd.DataFrame) -> pd.DataFrame:
    """Gain of every row of `COMPARED` and `BESIDE` over the best individual model, in points.

    Args:
        methods: the methods table of a run.

    Returns:
        columns ``method``, ``test`` and ``shifts_mean``. With the prefix ``over_`` it has the
        accuracies of the best individual model in percent.
    """
    rows = 100 * methods.set_index("method")[MEASURES]
    present = [name for name in (*COMPARED, *BESIDE) if name in rows.index]
    gained = rows.loc[present] - rows.loc[BEST]
    over = {OVER + measure: rows.loc[BEST, measure] for measure in MEASURES}
    return gained.assign(**over).reset_index()


def drawn(curve: pd.DataFrame) -> pd.DataFrame:
    """Mean gain over the draws of each size of the held-out set, in points.

    Args:
        curve: the table ``heldout_size`` of a run.
    """
    parts = []
    for (size, _), rows in curve.groupby(["per_class", "draw"]):
        parts.append(gains(rows).assign(per_class=size))
    every = pd.concat(parts)
    columns = [*MEASURES, *(OVER + measure for measure in MEASURES)]
    return every.groupby(["per_class", "method"], sort=False)[columns].mean().reset_index()


def summary(runs: pd.DataFrame, heldout: pd.DataFrame | None, sweeps: int) -> pd.DataFrame:
    """Mean gain, Student's 95% interval and verdict of every method in every setting.

    The column ``over`` has the mean accuracy of the best individual models in percent, and ``wins``
    the number of sweeps with a gain above 0.

    Args:
        runs: `gains` of all runs, with the columns ``axis``, ``value``, ``setting`` and ``seed``.
            A setting may stand on two axes.
        heldout: `drawn` of the runs whose held-out set was drawn again, with ``setting`` and
            ``seed``, or None.
        sweeps: number of sweeps of the design. A setting with fewer gets no verdict.
    """
    parts = [runs]
    if heldout is not None:
        parts.append(heldout.assign(axis=HELDOUT_AXIS, value=heldout["per_class"].astype(str)))
    rows = []
    for (axis, value, method), part in pd.concat(parts).groupby(
        ["axis", "value", "method"], sort=False
    ):
        for measure in MEASURES:
            mean, low, high = student(part[measure].to_numpy())
            row = {"axis": axis, "value": value, "method": method, "measure": measure}
            row |= {"setting": part["setting"].iloc[0], "sweeps": len(part)}
            row |= {"gain": mean, "lo": low, "hi": high, "over": part[OVER + measure].mean()}
            row["wins"] = int((part[measure] > 0).sum())
            decided = verdict(low, high) if len(part) >= sweeps else NOT_TESTED
            rows.append(row | {"verdict": decided})
    return pd.DataFrame(rows).round(3)


def verdict(low: float, high: float) -> str:
    """Whether an interval of gains is above 0, below 0, or neither."""
    return HELPS if low > 0 else HURTS if high < 0 else UNDECIDED
