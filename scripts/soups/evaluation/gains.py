"""Gains over the best individual model in the small-data study: their means and their trend."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from soups.evaluation.resampling import student
from soups.outcomes import (
    HELDOUT_AXIS,
    HELPS,
    HURTS,
    IMAGES_AXIS,
    NOT_TESTED,
    UNDECIDED,
)
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


def each(runs: pd.DataFrame, heldout: pd.DataFrame | None) -> pd.DataFrame:
    """The gain of every method in every sweep of every setting, with a row per measure.

    Args:
        runs: `gains` of all runs, with the columns ``axis``, ``value``, ``setting`` and ``seed``.
            A setting may stand on two axes.
        heldout: `drawn` of the runs whose held-out set was drawn again, with ``setting`` and
            ``seed``, or None.

    Returns:
        columns ``axis``, ``value``, ``setting``, ``seed``, ``method``, ``measure``, ``gain`` in
        points and ``over``, the accuracy of the best individual model in percent.
    """
    parts = [runs]
    if heldout is not None:
        parts.append(heldout.assign(axis=HELDOUT_AXIS, value=heldout["per_class"].astype(str)))
    rows = pd.concat(parts, ignore_index=True)
    keys = ["axis", "value", "setting", "seed", "method"]
    measured = [
        rows[keys].assign(measure=measure, gain=rows[measure], over=rows[OVER + measure])
        for measure in MEASURES
    ]
    return pd.concat(measured).sort_index(kind="stable")


def summary(gained: pd.DataFrame, sweeps: int) -> pd.DataFrame:
    """Mean gain, Student's 95% interval and verdict of every method in every setting.

    The column ``over`` has the mean accuracy of the best individual models in percent, and ``wins``
    the number of sweeps with a gain above 0.

    Args:
        gained: made by `each`.
        sweeps: number of sweeps of the design. A setting with fewer gets no verdict.
    """
    rows = []
    keys = ["axis", "value", "method", "measure"]
    for names, part in gained.groupby(keys, sort=False):
        mean, low, high = student(part["gain"].to_numpy())
        row = dict(zip(keys, names, strict=True))
        row |= {"setting": part["setting"].iloc[0], "sweeps": len(part)}
        row |= {"gain": mean, "lo": low, "hi": high, "over": part["over"].mean()}
        row["wins"] = int((part["gain"] > 0).sum())
        decided = verdict(low, high) if len(part) >= sweeps else NOT_TESTED
        rows.append(row | {"verdict": decided})
    return pd.DataFrame(rows).round(3)


def trend(gained: pd.DataFrame, values: Sequence[str], sweeps: int) -> pd.DataFrame:
    """How the gain of each method changes if the number of training images grows tenfold.

    A straight line in the logarithm of that number is fitted to the gains of the sweeps of one seed
    by least squares. The slopes of the seeds give the mean and Student's 95% interval.

    Args:
        gained: made by `each`.
        values: the numbers of images of the design, such as "2%".
        sweeps: number of sweeps of the design.

    Returns:
        columns ``method``, ``measure``, and ``slope``, ``lo`` and ``hi`` in points per tenfold
        number of images. A method that lacks a sweep of one of the values has no row.
    """
    rows = gained[(gained["axis"] == IMAGES_AXIS) & gained["method"].isin(COMPARED)]
    out = []
    for (method, measure), part in rows.groupby(["method", "measure"], sort=False):
        table = part.pivot(index="value", columns="seed", values="gain").reindex(values)
        if table.isna().any(axis=None) or len(table.columns) < sweeps:
            continue
        share = np.array([float(value.rstrip("%")) for value in values])
        slopes = np.polyfit(np.log10(share), table.to_numpy(), 1)[0]
        mean, low, high = student(slopes)
        row = {"method": method, "measure": measure}
        out.append(row | {"slope": mean, "lo": low, "hi": high})
    return pd.DataFrame(out, columns=["method", "measure", "slope", "lo", "hi"]).round(3)


def verdict(low: float, high: float) -> str:
    """Whether an interval of gains is above 0, below 0, or neither."""
    return HELPS if low > 0 else HURTS if high < 0 else UNDECIDED
