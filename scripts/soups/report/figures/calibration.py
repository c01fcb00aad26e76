"""The figure of calibration: confidence against accuracy."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from soups.report import style
from soups.roles import (
    BEST,
    ENSEMBLE,
    GREEDY,
    GREEDY_ENSEMBLE,
    INITIALIZATION,
    UNIFORM,
    Roles,
)

SHOWN = (BEST, UNIFORM, GREEDY, ENSEMBLE, GREEDY_ENSEMBLE, INITIALIZATION)  # roles with a line


def reliability(bins: pd.DataFrame, calibration: pd.DataFrame, roles: Roles) -> Figure:
    """Accuracy against confidence in bins of confidence, and the gain in ECE with its interval."""
    figure, axes = plt.subplots(
        1, 2, figsize=(style.WIDE, 3.1), width_ratios=[1.15, 1], layout="constrained"
    )
    for role, row in roles.among(SHOWN, bins["method"]).items():
        line = bins[bins["method"] == row]
        axes[0].plot(
            line["confidence"], line["accuracy"], color=style.COLOURS[role], linewidth=1,
            marker=style.MARKERS[role], markersize=3.5, label=roles.title(row),
        )  # fmt: skip
    axes[0].plot([0, 1], [0, 1], color="#888888", linewidth=0.8, zorder=1)
    axes[0].set_xlabel("Confidence (mean of a bin)")
    axes[0].set_ylabel("Accuracy of the bin")
    axes[0].set_aspect("equal")
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=6.5
    )  # Any curve may pass through any corner of the axes.
    test = calibration[calibration["set"] == "test"].iloc[::-1].reset_index(drop=True)
    gain = 100 * test[["ece_gain", "ece_gain_lo", "ece_gain_hi"]]
    axes[1].errorbar(
        gain["ece_gain"], test.index,
        xerr=[gain["ece_gain"] - gain["ece_gain_lo"], gain["ece_gain_hi"] - gain["ece_gain"]],
        fmt="o", color=style.COLOURS[ENSEMBLE], markersize=3, elinewidth=0.9,
    )  # fmt: skip
    axes[1].axvline(0, color=style.REFERENCE, linewidth=0.8)
    axes[1].set_title("method, its plain ECE (%)", loc="right", x=-0.04, fontsize=7)
    axes[1].set_yticks(
        test.index,
        [
            f"{roles.title(row)}, {100 * ece:.1f}"
            for row, ece in zip(test["method"], test["ece"], strict=True)
        ],
        fontsize=6,
    )
    axes[1].set_xlabel(
        "ECE of the best individual minus that of the\n"
        f"method, both less noise (points), n = {test['n'][0]:,}"
    )
    axes[1].grid(axis="y", visible=False)
    return figure
