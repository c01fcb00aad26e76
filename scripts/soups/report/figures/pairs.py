"""Figures of pairs of models: lines between them, their averages, and the angle between them."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from soups.outcomes import AGREEMENT, NOT_TESTED
from soups.report import presentation, style
from soups.report.words import USUAL, Words

# Column `differ`: the hyperparameter in which two models differ.
MARKERS_OF_DIFFERENCES = {"seed": "o", "lr": "s", "augment": "^", "several": "."}


def _middle(*tables: pd.DataFrame | None) -> pd.DataFrame:
    """The midpoints of pairs, with the accuracies of the two models as `one` and `two`."""
    parts = []
    for table in tables:
        if table is None:
            continue
        at = {alpha: table[np.isclose(table["alpha"], alpha)] for alpha in (0, 0.5, 1)}
        middle = at[0.5].reset_index(drop=True)
        for end, alpha in (("one", 0), ("two", 1)):
            middle[end] = at[alpha]["test"].to_numpy()
        parts.append(middle)
    return pd.concat(parts, ignore_index=True)


def _norm(table: pd.DataFrame) -> LogNorm:
    low, high = table["lr_1"].min(), table["lr_2"].max()
    return LogNorm(low, max(high, 1.01 * low))


def _mean_lr(table: pd.DataFrame) -> pd.Series:
    return np.sqrt(table["lr_1"] * table["lr_2"])


def _points(ax, table: pd.DataFrame, x: pd.Series, y: pd.Series, norm: LogNorm):
    """A scatter of pairs. Colour is the mean learning rate, and the marker tells what differs."""
    drawn = None
    for kind in dict.fromkeys(table["differ"]):
        rows = table["differ"] == kind
        drawn = ax.scatter(
            x[rows], y[rows], c=_mean_lr(table)[rows], norm=norm, cmap=style.SEQUENTIAL,
            marker=MARKERS_OF_DIFFERENCES.get(kind, "D"), s=40 if kind == "several" else 26,
            edgecolors="black" if kind != "several" else "none", linewidths=0.5,
            label=_label(kind),
        )  # fmt: skip
    return drawn


def _legend(figure: Figure, ax) -> None:
    labels = ax.get_legend_handles_labels()[1]
    shapes = {_label(kind): shape for kind, shape in MARKERS_OF_DIFFERENCES.items()}
    look = {"color": "#777777", "linestyle": "none", "markersize": 5}
    handles = [Line2D([], [], marker=shapes.get(label, "D"), **look) for label in labels]
    words = [
        label.removeprefix("differ in ").replace("several", "several hyperparameters")
        for label in labels
    ]
    figure.legend(
        handles, words, title="The two models differ in", title_fontsize=7,
        loc="outside upper center", ncols=4, columnspacing=1,
    )  # fmt: skip


def _label(kind: str) -> str:
    return f"differ in {kind if kind == 'several' else style.hyperparameter(kind)}"


def paths(paths: pd.DataFrame, large_lr: float, words: Words = USUAL) -> Figure:
    """Test accuracy along lines between models that differ in only one hyperparameter."""
    large = paths["lr_2"] >= large_lr
    panels = {
        f"differ in {style.hyperparameter(name)}": paths[(paths["differ"] == name) & ~large]
        for name in dict.fromkeys(paths["differ"])
    }
    panels = {name: rows for name, rows in panels.items() if len(rows)}
    if large.any():
        panels["with a large learning rate"] = paths[large]
    figure, axes = plt.subplots(
        1, len(panels), figsize=(style.WIDE, 2.7), squeeze=False, sharex=True
    )
    for ax in axes[0, 1 : len(panels) - int(large.any())]:
        ax.sharey(axes[0, 0])
    for ax, (title, rows) in zip(axes[0], panels.items(), strict=True):
        ax.set_title(title)
        for i, (_, line) in enumerate(rows.groupby(["model_1", "model_2"], sort=False)):
            value = 100 * line["test"].to_numpy()
            chord = value[0] + (value[-1] - value[0]) * line["alpha"].to_numpy()
            barrier = (chord - value).max()
            first = line.iloc[0]
            colour, marker = style.CYCLE[i % len(style.CYCLE)]
            rates = dict.fromkeys(f"{first[name]:g}" for name in ("lr_1", "lr_2"))
            ax.plot(
                line["alpha"], value, color=colour, marker=marker, markersize=3, linewidth=1.1,
                label=f"{' – '.join(rates)}: {barrier:.1f}",
            )  # fmt: skip
        ax.legend(title="learning rate: barrier (points)", title_fontsize=6.5, fontsize=6.5,
                  loc="upper center", bbox_to_anchor=(0.5, -0.28))  # fmt: skip
        ax.set_xlabel("α")
        ax.set_xticks([0, 0.5, 1])
    axes[0, 0].set_ylabel(f"{words.narrow('test')}\nn = {paths['n_test'].iloc[0]:,}")
    return figure


def angles(
    effects: pd.DataFrame,
    large_lr: float,
    pairs: pd.DataFrame | None = None,
    paths: pd.DataFrame | None = None,
) -> Figure:
    """Gain of the midpoint over the mean of its ends against the angle between the models."""
    middle = _middle(pairs, paths)
    usual = middle["lr_2"] < large_lr
    middle = (middle[usual] if usual.any() else middle).reset_index(drop=True)
    gain = 100 * (middle["test"] - (middle["one"] + middle["two"]) / 2)
    figure, ax = plt.subplots(figsize=(style.WIDTH * 1.35, style.WIDTH))
    drawn = _points(ax, middle, middle["angle"], gain, _norm(middle))
    ax.axhline(0, color="#888888", linewidth=0.8, zorder=1)
    figure.colorbar(drawn, ax=ax, label="Learning rate (geometric mean)", pad=0.02)
    row = effects[effects["claim"] == 8].iloc[0]
    ax.set_title(f"rank correlation {presentation.effect(row) or NOT_TESTED}, {len(middle)} pairs")
    ax.set_xlabel("Angle between θ₁ − θ₀ and θ₂ − θ₀ (degrees)")
    ax.set_ylabel(f"Midpoint minus mean of ends (points)\ntest, n = {middle['n_test'][0]:,}")
    _legend(figure, ax)
    return figure


def soup_vs_ensemble(
    large_lr: float,
    pairs: pd.DataFrame | None = None,
    paths: pd.DataFrame | None = None,
    words: Words = USUAL,
) -> Figure:
    """Accuracy of the soup against that of the ensemble of two models."""
    middle = _middle(pairs, paths)
    usual = middle[middle["lr_2"] < large_lr]
    rows = {"all pairs": middle, "without large learning rates": usual}
    if len(usual) in (0, len(middle)):
        rows = {"all pairs": middle}
    measures = (("test", "test", "n_test"), ("shifts_mean", "mean of shifts", "n_shifts"))
    figure, axes = plt.subplots(
        len(rows), 2, figsize=(style.WIDE, 0.6 + 2.6 * len(rows)), squeeze=False
    )
    for line, (title, part) in zip(axes, rows.items(), strict=True):
        for ax, (column, label, count) in zip(line, measures, strict=True):
            part = part.reset_index(drop=True)
            x, y = 100 * part[f"ensemble_{column}"], 100 * part[column]
            drawn = _points(ax, part, x, y, _norm(part))
            ends = [min(x.min(), y.min()), max(x.max(), y.max())]
            ax.plot(ends, ends, color="#888888", linewidth=0.8, zorder=1)
            ax.annotate("soup better", (0.04, 0.92), xycoords="axes fraction", fontsize=7)
            ax.annotate(
                "ensemble better", (0.96, 0.05), xycoords="axes fraction", fontsize=7, ha="right"
            )
            ax.set_title(f"{label}, {title} ({len(part)})")
            ax.set_xlabel(f"Ensemble of two models ({words.scale}), n = {part[count][0]:,}")
            ax.set_ylabel(f"Soup of two models ({words.scale})")
        figure.colorbar(drawn, ax=line, label="Learning rate (geometric mean)", pad=0.01)
    _legend(figure, axes[0, 0])
    return figure


def loss_gap(paths: pd.DataFrame, large_lr: float) -> Figure:
    """The approximate loss gap of soup and ensemble against the true gap."""
    rows = paths[paths["gap_approximation"].notna()]
    large = rows["lr_2"] >= large_lr
    panels = {
        "small and medium learning rates": rows[~large],
        "with a large learning rate": rows[large],
    }
    panels = {title: part for title, part in panels.items() if len(part)}
    figure, axes = plt.subplots(1, len(panels), figsize=(style.WIDE, 3.0), squeeze=False)
    for ax, (title, part) in zip(axes[0], panels.items(), strict=True):
        for i, (rates, line) in enumerate(part.groupby(["lr_1", "lr_2"])):
            colour, marker = style.CYCLE[i % len(style.CYCLE)]
            label = " – ".join(dict.fromkeys(f"{rate:g}" for rate in rates))
            # Hollow marks: the second derivative from twice the step disagrees or is missing.
            apart = (line["curvature_wide"] - line["curvature"]).abs()
            checked = apart <= AGREEMENT * line["curvature"].abs()
            ax.scatter(
                line["gap"], line["gap_approximation"], marker=marker, s=18, edgecolors=colour,
                color=[colour if ok else "white" for ok in checked], linewidths=0.8,
            )  # fmt: skip
            ax.scatter([], [], color=colour, marker=marker, s=18, label=f"lr {label}")
        both = part[["gap", "gap_approximation"]]
        ends = [both.min().min(), both.max().max()]
        ax.plot(ends, ends, color="#888888", linewidth=0.8, zorder=1)
        ax.axhline(0, color="#cccccc", linewidth=0.6, zorder=0)
        ax.axvline(0, color="#cccccc", linewidth=0.6, zorder=0)
        ax.set_title(title)
        ax.set_xlabel(f"Loss of soup − of ensemble (nats), test n = {paths['n_test'].iloc[0]:,}")
        ax.legend(loc="best")
    axes[0, 0].set_ylabel("Approximation (nats)")
    return figure
