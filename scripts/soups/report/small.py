"""The table and the figure of the small-data study: gains over the best individual model."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from soups.report import style
from soups.roles import BEST, ENSEMBLE, GREEDY, LEARNED, TITLES, UNIFORM

SHOWN = (UNIFORM, GREEDY, LEARNED, ENSEMBLE)
MEASURES = {"test": "in distribution", "shifts_mean": "under shift"}
LEVEL = 0.95
HELPS, HURTS, UNDECIDED = "helps", "hurts", "undecided"
HELDOUT = "held-out images per class"


def gains(methods: pd.DataFrame) -> pd.DataFrame:
    """Gain of every shown method over the best individual model, in points.

    Args:
        methods: the methods table of a run.

    Returns:
        columns ``method``, ``test`` and ``shifts_mean``.
    """
    rows = methods.set_index("method")[list(MEASURES)]
    present = [name for name in SHOWN if name in rows.index]
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
    return every.groupby(["per_class", "method"], sort=False)[list(MEASURES)].mean().reset_index()


def summary(runs: pd.DataFrame, heldout: pd.DataFrame | None) -> pd.DataFrame:
    """Mean gain, 95% interval and verdict of every method in every setting.

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
            mean, low, high = interval(part[measure].to_numpy())
            row = {"axis": axis, "value": value, "method": method, "measure": measure}
            row |= {"sweeps": len(part), "gain": mean, "lo": low, "hi": high}
            rows.append(row | {"verdict": verdict(low, high)})
    return pd.DataFrame(rows).round(3)


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean, and its interval by Student's t over sweeps; the interval of one value is NaN."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, np.nan, np.nan
    half = stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * np.std(values, ddof=1)
    half /= np.sqrt(len(values))
    return mean, mean - float(half), mean + float(half)


def verdict(low: float, high: float) -> str:
    """Whether an interval of gains is above 0, below 0, or neither."""
    return HELPS if low > 0 else HURTS if high < 0 else UNDECIDED


def markdown(table: pd.DataFrame) -> str:
    """The summary as a Markdown table, with a row per setting and measure."""
    methods = [name for name in SHOWN if name in set(table["method"])]
    head = ["setting", "measure", "sweeps", *(TITLES[name] for name in methods)]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for (axis, value, measure), rows in table.groupby(["axis", "value", "measure"], sort=False):
        each = rows.set_index("method")
        cells = [f"{axis}: {value}", MEASURES[measure], str(each["sweeps"].iloc[0])]
        cells += [_cell(each.loc[name]) if name in each.index else "" for name in methods]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", *rules(table)])


def _cell(row: pd.Series) -> str:
    if np.isnan(row["lo"]):
        return f"{row['gain']:+.1f}"
    mark = {HELPS: " ▲", HURTS: " ▼"}.get(row["verdict"], "")
    return f"{row['gain']:+.1f} [{row['lo']:+.1f}, {row['hi']:+.1f}]{mark}"


def rules(table: pd.DataFrame) -> list[str]:
    """One sentence per method and measure that counts the settings in which it helps or hurts."""
    out = []
    for method in [name for name in SHOWN if name in set(table["method"])]:
        for measure, words in MEASURES.items():
            rows = table[(table["method"] == method) & (table["measure"] == measure)]
            count = rows["verdict"].value_counts()
            out.append(
                f"- {TITLES[method]}, {words}: helps in {count.get(HELPS, 0)}, hurts in "
                f"{count.get(HURTS, 0)} and is undecided in {count.get(UNDECIDED, 0)} of "
                f"{len(rows)} settings."
            )
    return out


def figure(table: pd.DataFrame) -> Figure:
    """One panel per axis of the study and measure, with a line per method."""
    style.use()
    axes_of: Sequence[str] = list(dict.fromkeys(table["axis"]))
    made = Figure(figsize=(style.WIDE, 2.2 * len(MEASURES)), layout="constrained")
    panels = made.subplots(len(MEASURES), len(axes_of), squeeze=False, sharey="row")
    for row, (measure, words) in zip(panels, MEASURES.items(), strict=True):
        for panel, axis in zip(row, axes_of, strict=True):
            part = table[(table["axis"] == axis) & (table["measure"] == measure)]
            values = list(dict.fromkeys(part["value"]))
            for shift, method in enumerate(SHOWN):
                mine = part[part["method"] == method]
                x = [values.index(value) + 0.08 * (shift - 1.5) for value in mine["value"]]
                bars = [mine["gain"] - mine["lo"], mine["hi"] - mine["gain"]]
                panel.errorbar(x, mine["gain"], yerr=bars, fmt="o-", ms=3, lw=0.8,
                               label=TITLES[method])  # fmt: skip
            panel.axhline(0, color="0.6", lw=0.8)
            panel.set_xticks(range(len(values)), values)
            panel.set_xlabel(axis)
        row[0].set_ylabel(f"gain {words} (points)")
    panels[0, -1].legend(fontsize="x-small")
    return made
