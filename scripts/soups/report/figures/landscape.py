"""The plane through the start and two fine-tuned models."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from soups.report import style
from soups.report.words import USUAL, Words

# Marked points: label, marker, and offset of the label in points.
MARKS = {
    "start": ("θ₀", "o", (-7, -9)),
    "one": ("θ₁", "o", (6, -9)),
    "two": ("θ₂", "o", (5, 3)),
    "average": ("average", "*", (5, 3)),
}
LEVELS = 9  # bands of colour


def landscape(points: pd.DataFrame, words: Words = USUAL) -> Figure:
    """Held-out loss and test error over planes, with a column per learning rate."""
    panels = list(dict.fromkeys(points["panel"]))
    figure, axes = plt.subplots(
        2, len(panels), figsize=(style.WIDE, 4.4), squeeze=False, layout="constrained"
    )
    rows = (
        ("heldout_loss", f"Held-out loss (nats), n = {points['n_heldout'][0]:,}", 1),
        ("error", f"{words.error_axis}, n = {points['n_test'][0]:,}", 100),
    )
    points = points.assign(error=1 - points["test"])
    for column, panel in enumerate(panels):
        mine = points[points["panel"] == panel]
        for ax, (name, label, scale) in zip(axes[:, column], rows, strict=True):
            _plane(figure, ax, mine, scale * mine[name])
            if column == 0:
                ax.set_ylabel(label)
        lr, title = mine["lr"].iloc[0], panel.replace("_", " ")
        title += "" if pd.isna(lr) else f": learning rate {lr:g}"  # unknown for ready-made models
        axes[0, column].set_title(title, fontsize=7.5)
    figure.supxlabel("Distance in weight space, in units of each panel's ‖θ₁ − θ₀‖", fontsize=8)
    return figure


def _plane(figure, ax, mine: pd.DataFrame, values: pd.Series) -> None:
    """Filled contours of one quantity, and marks of the start, the models and their average."""
    unit = mine.loc[mine["kind"] == "one", "x"].iloc[0]
    fine = np.isfinite(values)  # far from the models, the loss may be infinite
    x, y, values = mine["x"][fine] / unit, mine["y"][fine] / unit, values[fine]
    # Each band holds an equal share of the points, so a steep rim does not use up all contours.
    levels = np.unique(np.quantile(values, np.linspace(0, 1, LEVELS + 1)).round(4))
    if len(levels) < 2:  # a constant quantity
        levels = levels[0] + np.array([0, 1e-3])
    filled = ax.tricontourf(x, y, values, levels=levels, cmap=f"{style.SEQUENTIAL}_r")
    ax.tricontour(x, y, values, levels=levels, colors="white", linewidths=0.4, alpha=0.7)
    bar = figure.colorbar(filled, ax=ax, shrink=0.68, pad=0.03)
    shown = levels[:: -(-len(levels) // 5)]
    bar.set_ticks(shown, labels=[f"{level:.3g}" for level in shown])
    bar.ax.tick_params(labelsize=6)
    for kind, (text, marker, offset) in MARKS.items():
        row = mine[mine["kind"] == kind].iloc[0]
        at = row["x"] / unit, row["y"] / unit
        ax.scatter(
            *at, marker=marker, s=70 if marker == "*" else 22, color="white", edgecolors="black",
            linewidths=0.8, zorder=3,
        )  # fmt: skip
        ax.annotate(
            text, at, xytext=offset, textcoords="offset points", fontsize=7,
            bbox={"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.7},
        )  # fmt: skip
    ax.set_aspect("equal")
    ax.grid(False)
