"""The table and the figure of the small-data study: gains over the best individual model."""

from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from soups.outcomes import HELDOUT_AXIS, HELPS, HURTS, NOT_TESTED, UNDECIDED
from soups.report import presentation, style
from soups.roles import BESIDE, COMPARED, title

MEASURES = {"test": "in distribution", "shifts_mean": "under shift"}


def markdown(table: pd.DataFrame, trend: pd.DataFrame) -> str:
    """The summary as a Markdown table with a row per setting and measure, and sentences below it.

    Args:
        table: made by `soups.evaluation.gains.summary`.
        trend: made by `soups.evaluation.gains.trend`.
    """
    methods = [name for name in (*COMPARED, *BESIDE) if name in set(table["method"])]
    head = ["setting", "measure", "sweeps", "best individual (%)"]
    head += [title(name) for name in methods]
    lines = []
    for (axis, value, measure), rows in table.groupby(["axis", "value", "measure"], sort=False):
        each = rows.set_index("method")
        first = each.iloc[0]
        cells = [f"{axis}: {value}", MEASURES[measure], str(first["sweeps"])]
        cells += [f"{first['over']:.1f}"]
        for name in methods:
            marked = name in COMPARED
            cells.append(_cell(each.loc[name], marked) if name in each.index else "")
        lines.append(cells)
    return presentation.markdown(head, lines) + "\n" + "\n".join([*rules(table), *trends(trend)])


def _cell(row: pd.Series, marked: bool) -> str:
    if np.isnan(row["lo"]):
        return f"{row['gain']:+.1f}"
    mark = {HELPS: " ▲", HURTS: " ▼"}.get(row["verdict"], "") if marked else ""
    wins = f"({row['wins']} of {row['sweeps']})"
    return f"{row['gain']:+.1f} [{row['lo']:+.1f}, {row['hi']:+.1f}] {wins}{mark}"


def rules(table: pd.DataFrame) -> list[str]:
    """One sentence per method and measure that counts the settings in which it helps or hurts.

    A setting on two axes counts once. Held-out sets that are drawn again are no settings, because
    their models are those of another one. Neither are settings that lack sweeps.
    """
    table = table[(table["axis"] != HELDOUT_AXIS) & (table["verdict"] != NOT_TESTED)]
    table = table.drop_duplicates(["setting", "method", "measure"])
    out = []
    for method in COMPARED:
        for measure, words in MEASURES.items():
            rows = table[(table["method"] == method) & (table["measure"] == measure)]
            if rows.empty:
                continue
            count = rows["verdict"].value_counts()
            out.append(
                f"- {title(method)}, {words}: helps in {count.get(HELPS, 0)}, hurts in "
                f"{count.get(HURTS, 0)} and is undecided in {count.get(UNDECIDED, 0)} of "
                f"{len(rows)} {'setting' if len(rows) == 1 else 'settings'}."
            )
    return out


def trends(table: pd.DataFrame) -> list[str]:
    """A sentence per measure with the change of each gain per tenfold number of images."""
    out = []
    for measure, words in MEASURES.items():
        rows = table[table["measure"] == measure]
        changes = [
            f"{title(row['method'])} {row['slope']:+.1f} [{row['lo']:+.1f}, {row['hi']:+.1f}]"
            for _, row in rows.iterrows()
        ]
        if changes:
            out.append(
                f"- With ten times as many training images, the gains {words} change by these "
                f"points: {', '.join(changes)}."
            )
    return out


def figure(table: pd.DataFrame, each: pd.DataFrame) -> Figure:
    """One panel per axis of the study and measure, with a line per method.

    Args:
        table: means and intervals over sweeps, made by `soups.evaluation.gains.summary`.
        each: the gains of single sweeps, made by `soups.evaluation.gains.each`.
    """
    style.use()
    values = {
        axis: rows["value"].unique().tolist() for axis, rows in table.groupby("axis", sort=False)
    }
    made = Figure(figsize=(style.WIDE, 2.1 * len(MEASURES) + 0.3), layout="constrained")
    panels = made.subplots(
        len(MEASURES), len(values), squeeze=False, sharey="row", sharex="col",
        width_ratios=[len(on_axis) + 0.5 for on_axis in values.values()],
    )  # fmt: skip
    for row, (measure, words) in zip(panels, MEASURES.items(), strict=True):
        for panel, (axis, on_axis) in zip(row, values.items(), strict=True):
            _panel(panel, on_axis, *(_part(rows, axis, measure) for rows in (table, each)))
        row[0].set_ylabel(f"gain {words} (points)")
    for panel, axis in zip(panels[-1], values, strict=True):
        panel.set_xlabel(fill(axis, 30))
    handles, labels = panels[0, 0].get_legend_handles_labels()
    made.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return made


def _part(rows: pd.DataFrame, axis: str, measure: str) -> pd.DataFrame:
    return rows[(rows["axis"] == axis) & (rows["measure"] == measure)]


def _panel(panel: Axes, values: list[str], means: pd.DataFrame, each: pd.DataFrame) -> None:
    """Means with intervals, joined by lines, and the gains of single sweeps as points."""
    panel.axhline(0, color=style.REFERENCE, lw=0.8)
    for shift, method in enumerate(COMPARED):
        look = style.marker(method, title(method), size=22)
        aside = 0.17 * (shift - (len(COMPARED) - 1) / 2)
        mine, single = (rows[rows["method"] == method] for rows in (means, each))
        x, points = (np.array([values.index(v) for v in rows["value"]]) + aside
                     for rows in (mine, single))  # fmt: skip
        panel.vlines(x, mine["lo"], mine["hi"], color=look["color"], lw=0.9, alpha=0.6)
        panel.plot(x, mine["gain"], color=look["color"], lw=0.9)
        panel.scatter(points, single["gain"], color=look["color"], s=6, alpha=0.7, linewidths=0)
        panel.scatter(x, mine["gain"], **look)
    panel.set_xticks(range(len(values)), [fill(value, 9) for value in values])
    panel.set_xlim(-0.6, len(values) - 0.4)
    panel.grid(axis="x", visible=False)
