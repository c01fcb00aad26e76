"""The table and the figure of the small-data study: gains over the best individual model."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from soups.outcomes import HELDOUT_AXIS, HELPS, HURTS, NOT_TESTED, UNDECIDED
from soups.report import presentation, style
from soups.roles import BESIDE, COMPARED, title

MEASURES = {"test": "in distribution", "shifts_mean": "under shift"}


def markdown(table: pd.DataFrame) -> str:
    """The summary as a Markdown table, with a row per setting and measure."""
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
    return presentation.markdown(head, lines) + "\n" + "\n".join(rules(table))


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


def figure(table: pd.DataFrame) -> Figure:
    """One panel per axis of the study and measure, with a line per method."""
    style.use()
    axes_of = table["axis"].unique()
    made = Figure(figsize=(style.WIDE, 2.2 * len(MEASURES)), layout="constrained")
    panels = made.subplots(len(MEASURES), len(axes_of), squeeze=False, sharey="row")
    for row, (measure, words) in zip(panels, MEASURES.items(), strict=True):
        for panel, axis in zip(row, axes_of, strict=True):
            part = table[(table["axis"] == axis) & (table["measure"] == measure)]
            values = part["value"].unique().tolist()
            for shift, method in enumerate(COMPARED):
                mine = part[part["method"] == method]
                x = [
                    values.index(value) + 0.08 * (shift - (len(COMPARED) - 1) / 2)
                    for value in mine["value"]
                ]
                bars = [mine["gain"] - mine["lo"], mine["hi"] - mine["gain"]]
                panel.errorbar(x, mine["gain"], yerr=bars, fmt="o-", ms=3, lw=0.8,
                               label=title(method))  # fmt: skip
            panel.axhline(0, color="0.6", lw=0.8)
            panel.set_xticks(range(len(values)), values)
            panel.set_xlim(-0.5, len(values) - 0.5)
            panel.set_xlabel(axis)
        row[0].set_ylabel(f"gain {words} (points)")
    panels[0, -1].legend(fontsize="x-small")
    return made
