"""The figure of accuracies of this run beside the published ones of the same checkpoints."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from soups.report import presentation, style
from soups.report.words import USUAL, Words
from soups.roles import ENSEMBLE, GREEDY

# Column `kind`: look and label.
LOOKS_OF_KINDS = {
    "model": (style.INGREDIENT, "released model"),
    "soup": (GREEDY, "uniform and greedy soup"),
    "ensemble": (ENSEMBLE, "ensemble"),
}
MEASURE_TITLES = {"heldout": "held-out", "test": "test", "shifts_mean": "mean of shifts"}


def reproduction(compared: pd.DataFrame, words: Words = USUAL) -> Figure:
    """This run against the published results on the test set and under shift, and differences."""
    measures = list(dict.fromkeys(compared["measure"]))
    looks = {
        kind: look for kind, look in LOOKS_OF_KINDS.items() if (compared["kind"] == kind).any()
    }
    pair = [name for name in ("test", "shifts_mean") if name in measures]
    figure, axes = plt.subplots(
        1, len(pair) + 1, figsize=(style.WIDE, 2.7), width_ratios=[1] * len(pair) + [1.2]
    )
    for ax, name in zip(axes, pair, strict=False):
        rows = compared[compared["measure"] == name]
        low, high = (100 * f(rows[["ours", "published"]].to_numpy()) for f in (np.min, np.max))
        ax.plot([low, high], [low, high], color=style.REFERENCE, linewidth=0.8, zorder=1)
        for kind, (look, label) in looks.items():
            part = rows[rows["kind"] == kind]
            ax.scatter(100 * part["published"], 100 * part["ours"], **style.marker(look, label))
        ax.set_xlabel(f"Published {words.short} ({words.scale}), {MEASURE_TITLES[name]}")
        ax.set_ylabel(f"{words.short_title} of this run ({words.scale})")
    ax = axes[-1]
    for kind, (look, _) in looks.items():
        part = compared[compared["kind"] == kind]
        place = part["measure"].map(measures.index).to_numpy(float)
        # Points of one set are spread in the order of the table, so that they do not overlap.
        spread = np.linspace(-0.25, 0.25, part["model"].nunique())
        order = part["model"].map({m: i for i, m in enumerate(dict.fromkeys(part["model"]))})
        ax.scatter(
            100 * part["difference"], place + spread[order.to_numpy(int)], **style.marker(look)
        )
    ax.axvline(0, color=style.REFERENCE, linewidth=0.8, zorder=1)
    labels = [MEASURE_TITLES.get(name) or presentation.shift_label(name) for name in measures]
    ax.set_yticks(range(len(measures)), labels)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("This run − published (points)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure
