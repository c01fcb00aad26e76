"""Figures of curves: lines through weight space, growing soups, soups of parts of the sweep.

The column ``method`` holds rows of the methods table in `wise_ft`, and roles elsewhere.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from soups.report import style
from soups.report.words import USUAL, Words
from soups.roles import GREEDY, UNIFORM, ZEROSHOT, Roles

MEASURES = ("test", "shifts_mean")


def wise_ft(curve: pd.DataFrame, roles: Roles, words: Words = USUAL) -> Figure:
    """Test accuracy against the mean over shifts along lines from the start to models and soups."""
    figure, ax = plt.subplots(figsize=(style.WIDTH * 1.25, style.WIDTH))
    others = [row for row in curve["method"].unique() if roles.of(row) not in style.COLOURS]
    for row, line in curve.groupby("method", sort=False):
        other = others.index(row) if row in others else 0
        look = style.marker(roles.of(row), roles.title(row), other=other)
        x, y = 100 * line["test"], 100 * line["shifts_mean"]
        ax.plot(x, y, "-o", color=look["color"], linewidth=1, markersize=2.5)
        end = line[line["alpha"] == 1]
        ax.scatter(100 * end["test"], 100 * end["shifts_mean"], **look)
    for row, start in curve[curve["alpha"] == 0].groupby("start"):
        start = start.iloc[:1]
        ax.scatter(100 * start["test"], 100 * start["shifts_mean"], **style.marker(row))
    ax.set_xlabel(f"{words.axis('test')}, n = {curve['n_test'][0]:,}")
    ax.set_ylabel(words.upright("shifts_mean", curve["n_shifts"][0]))
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def number_of_models(curve: pd.DataFrame, words: Words = USUAL) -> Figure:
    """Accuracy of soups and ensembles of the first n models, with bands of ± sd over orders."""
    figure, axes = plt.subplots(1, 2, figsize=(style.WIDE, 2.8))
    for ax, column in zip(axes, MEASURES, strict=True):
        for role, lines in curve.groupby("method", sort=False):
            at = 100 * lines.groupby("n")[column].agg(["mean", "std"])
            colour = style.COLOURS[role]
            ax.plot(
                at.index, at["mean"], color=colour, linewidth=1.2, marker=style.MARKERS[role],
                markersize=4, label=style.LABELS[role],
            )  # fmt: skip
            band = at["std"].fillna(0)
            ax.fill_between(
                at.index, at["mean"] - band, at["mean"] + band, color=colour, alpha=0.13, lw=0
            )
        ax.set_xlabel("Number of models")
        ax.set_ylabel(f"{words.axis(column)}\nn = {curve[_count(column)][0]:,}")
        counts = curve["n"].unique()
        ax.set_xticks(counts[:: -(-len(counts) // 12)])
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=5)
    return figure


def _count(column: str) -> str:
    return "n_test" if column == "test" else "n_shifts"


def large_lr(curve: pd.DataFrame, rejection: pd.DataFrame, words: Words = USUAL) -> Figure:
    """Soups as models with a large learning rate join, and how far each model has moved."""
    figure, axes = plt.subplots(1, 2, figsize=(style.WIDE, 2.7))
    for i, (role, line) in enumerate(curve.groupby("method", sort=False)):
        error = 100 * np.abs(line[["test_lo", "test_hi"]].to_numpy().T - line["test"].to_numpy())
        axes[0].errorbar(
            line["large"] + 0.04 * (i - 1), 100 * line["test"], yerr=error,
            color=style.COLOURS[role], marker=style.MARKERS[role], markersize=5,
            linewidth=1.2, elinewidth=0.8, label=style.LABELS[role],
        )  # fmt: skip
    most = curve["large"].max()
    axes[0].set_xticks(range(most + 1))
    axes[0].set_xlabel(f"Models with a large learning rate among {len(rejection) - most} others")
    axes[0].set_ylabel(f"{words.axis('test')}\nn = {curve['n_test'][0]:,}")
    axes[0].legend(loc="best")
    taken = rejection["accepted"].astype(bool)
    for rows, look, marker, label in (
        (rejection[taken], GREEDY, "o", "taken by greedy"),
        (rejection[~taken], style.INGREDIENT, "x", "rejected"),
    ):
        axes[1].scatter(
            rows["distance"], 100 * rows["heldout"], s=24, color=style.COLOURS[look],
            marker=marker, label=label,
        )  # fmt: skip
    axes[1].set_xscale("log")
    axes[1].set_xlabel("Distance from the start, ‖θ − θ₀‖ (log scale)")
    axes[1].set_ylabel(words.axis("heldout"))
    axes[1].legend(loc="best")
    return figure


def slices(curve: pd.DataFrame, words: Words = USUAL) -> Figure:
    """Gain of soups over the best model if ingredients differ in only one hyperparameter."""
    figure, axes = plt.subplots(1, 2, figsize=(style.WIDE, 2.6), sharey=True)
    names = list(dict.fromkeys(curve["slice"]))
    for ax, column in zip(axes, MEASURES, strict=True):
        for offset, role in ((-0.12, UNIFORM), (0.12, GREEDY)):
            rows = (
                100
                * curve[curve["method"] == role]
                .set_index("slice")
                .loc[names, [f"{column}_gain", f"{column}_gain_lo", f"{column}_gain_hi"]]
            )
            value, low, high = (rows[name] for name in rows)
            at = np.arange(len(names)) + offset
            ax.errorbar(
                value, at, xerr=[value - low, high - value], fmt="none", elinewidth=0.9,
                color=style.COLOURS[role],
            )  # fmt: skip
            ax.scatter(value, at, **style.marker(role))
        ax.axvline(0, color=style.REFERENCE, linewidth=0.8, zorder=1)
        ax.set_xlabel(
            f"{words.label(column)}: soup minus\nbest individual (points), "
            f"n = {curve[_count(column)][0]:,}"
        )
        ax.grid(axis="y", visible=False)
    models = curve.drop_duplicates("slice").set_index("slice")["models"]
    ticks = [f"{style.hyperparameter(name)} ({models[name]} models)" for name in names]
    axes[0].set_yticks(range(len(names)), ticks)
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def tasks(curve: pd.DataFrame, words: Words = USUAL) -> Figure:
    """Zero-shot accuracy on unseen classes, of soups of models fine-tuned on other classes."""
    figure, ax = plt.subplots(figsize=(style.WIDTH * 1.1, 2.7))
    start = curve[curve["tasks"] == 0].iloc[0]
    ax.axhline(100 * start["test"], color=style.COLOURS[ZEROSHOT], linewidth=1, linestyle="--")
    ax.annotate(
        "zero-shot", (curve["tasks"].max(), 100 * start["test"]), xytext=(0, 3),
        textcoords="offset points", ha="right", fontsize=7,
    )  # fmt: skip
    rows = curve[curve["tasks"] > 0]
    # Points of one number of tasks stand side by side. Bars are intervals of the difference
    # from zero-shot.
    at = rows["tasks"] + 0.08 * (rows.groupby("tasks").cumcount() + 1)
    value = 100 * rows["test"]
    error = [
        100 * (rows["test_gain"] - rows["test_gain_lo"]),
        100 * (rows["test_gain_hi"] - rows["test_gain"]),
    ]
    ax.errorbar(
        at, value, yerr=error, fmt="none", elinewidth=0.8, color=style.COLOURS[style.INGREDIENT]
    )
    ax.scatter(at, value, **style.marker(style.INGREDIENT))
    mean = rows.groupby("tasks")["test"].mean()
    ax.plot(
        mean.index, 100 * mean, color=style.COLOURS[UNIFORM], marker=style.MARKERS[UNIFORM],
        markersize=5, linewidth=1.2,
    )  # fmt: skip
    ax.set_xticks(mean.index)
    ax.set_xlabel("Tasks whose models are averaged")
    ax.set_ylabel(
        f"{words.short_title} on the unseen task ({words.scale})\nn = {curve['n_test'][0]:,}"
    )
    return figure
