"""Figures of the paper's released results, from the tables of `soups.claims.published`."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from soups.report import presentation, style
from soups.report.figures.methods import scatter, shifts
from soups.report.figures.sweeps import LOGARITHMIC
from soups.roles import BASE, BEST, GREEDY, INITIALIZATION, UNIFORM, Roles

SET_TITLES = {
    "heldout": "held-out",
    "test": "ImageNet",
    "v2": "ImageNet-V2",
    "r": "ImageNet-R",
    "sketch": "ImageNet-Sketch",
    "objectnet": "ObjectNet",
    "a": "ImageNet-A",
    "shifts_mean": "mean of five shifts",
}


def published_scatter(models: pd.DataFrame, methods: pd.DataFrame, roles: Roles) -> Figure:
    """ImageNet accuracy against the mean over the five shifts (paper, figure 1)."""
    figure = scatter(models, methods, roles)
    ax = figure.axes[0]
    ax.set_xlabel(f"ImageNet accuracy (%), n = {methods['n_test'][0]:,}")
    ax.set_ylabel(f"Mean accuracy of five shifts (%)\nn = {methods['n_shifts'][0]:,}")
    return figure


def published_shifts(models: pd.DataFrame, methods: pd.DataFrame, roles: Roles) -> Figure:
    """ImageNet accuracy against accuracy under each shift, with a panel per shift."""
    figure = shifts(models, methods, roles)
    for ax, name in zip(figure.axes, presentation.shift_names(methods), strict=False):
        ax.set_title(f"{SET_TITLES[name]}, n = {methods[f'n_{name}'][0]:,}")
    figure.supxlabel(f"ImageNet accuracy (%), n = {methods['n_test'][0]:,}", fontsize=8)
    return figure


def published_sweep(
    models: pd.DataFrame, correlations: pd.DataFrame, methods: pd.DataFrame
) -> Figure:
    """Accuracy of the fine-tuned models against every hyperparameter, coloured by learning rate."""
    rows = models[models["variant"] == BASE]
    columns = list(models.columns[2 : models.columns.get_loc("heldout")])
    correlation = correlations.set_index(["of", "with"])["correlation"]
    figure, axes = plt.subplots(
        2, len(columns), figsize=(style.WIDE, 3.6), sharex="col", sharey="row"
    )
    measures = (
        ("test", f"ImageNet accuracy (%)\nn = {methods['n_test'][0]:,}"),
        ("shifts_mean", f"Mean of five shifts (%)\nn = {methods['n_shifts'][0]:,}"),
    )
    norm = LogNorm(*(_power(rows["lr"].agg(end)) for end in ("min", "max")))
    for x, name in enumerate(columns):
        values = rows[name]
        # Models without this hyperparameter stand to the left of the smallest value.
        apart = values.min() - 0.5 * (values.max() - values.min())
        for y, (measure, label) in enumerate(measures):
            ax = axes[y, x]
            points = ax.scatter(
                values.fillna(apart), 100 * rows[measure], c=rows["lr"], norm=norm,
                cmap=style.SEQUENTIAL, s=14, edgecolors="black", linewidths=0.3,
            )  # fmt: skip
            ax.set_title(f"ρ = {_signed(correlation[name, measure], '+')}", fontsize=7)
            ax.margins(x=0.12)
            if x == 0:
                ax.set_ylabel(label)
        _ticks(axes[1, x], name, values, apart)
        label = HYPERPARAMETER_LABELS.get(name, style.hyperparameter(name))
        axes[1, x].set_xlabel(label.replace(" ", "\n"), fontsize=7)
    bar = figure.colorbar(points, ax=axes, pad=0.01, aspect=40, label="learning rate")
    bar.ax.minorticks_off()
    bar.outline.set_visible(False)
    return figure


def _power(value: float) -> float:
    """The nearest power of ten."""
    return 10.0 ** round(np.log10(value))


def _signed(value: float, sign: str = "-") -> str:
    """Two decimals, with a typographic minus."""
    return f"{value + 0.0:{sign}.2f}".replace("-", "−")


HYPERPARAMETER_LABELS = {
    "rand_augment_magnitude": "RandAugment magnitude",
    "rand_augment_operations": "RandAugment operations",
}


def _ticks(ax, name: str, values: pd.Series, apart: float) -> None:
    """Ticks at the ends of the values, and ``off`` if some models lack the hyperparameter."""
    if name in LOGARITHMIC:
        ax.set_xscale("log")
        ax.xaxis.set_minor_formatter(NullFormatter())
        ends = [_power(values.agg(end)) for end in ("min", "max")]
        ax.set_xticks(ends, [f"$10^{{{round(np.log10(end))}}}$" for end in ends])
        return
    whole = values.nunique() <= 5
    ends = sorted(values.dropna().unique()) if whole else [values.min(), values.max()]
    ticks = {float(end): f"{end:.2g}" for end in ends}
    if values.isna().any():
        ticks = {apart: "off"} | ticks
    ax.set_xticks(list(ticks), list(ticks.values()))


def published_greedy_order(
    order: pd.DataFrame, correlations: pd.DataFrame, methods: pd.DataFrame, roles: Roles
) -> Figure:
    """Accuracies of the models by their rank on the held-out set, and of the soups.

    Squares mark the models that the greedy soup kept, which it added from left to right.
    """
    known = correlations[correlations["of"] == "heldout"].set_index("with")
    rows = methods.set_index("method")
    panels = ("heldout", "test", "shifts_mean")
    figure, axes = plt.subplots(1, len(panels), figsize=(style.WIDE, 2.9), sharex=True)
    start, first = order["variant"].isna(), order["rank"] == 1
    parts = {style.INGREDIENT: ~start & ~first, BEST: first, INITIALIZATION: start}
    for ax, measure in zip(axes, panels, strict=True):
        size = "shifts" if measure == "shifts_mean" else measure
        for look, part in parts.items():
            ax.scatter(order["rank"][part], 100 * order[measure][part], **style.marker(look))
        kept = order[order["kept"]]
        ax.scatter(
            kept["rank"], 100 * kept[measure], marker="s", s=34, facecolors="none",
            edgecolors=style.COLOURS[GREEDY], linewidths=1.2, label="kept by the greedy soup",
            zorder=4,
        )  # fmt: skip
        for role, line in ((UNIFORM, "--"), (GREEDY, "-")):
            ax.axhline(
                100 * rows.loc[roles.row(role), measure], color=style.COLOURS[role], linestyle=line,
                linewidth=1.2, label=roles.title(roles.row(role)),
            )  # fmt: skip
        title = f"{SET_TITLES[measure]}, n = {rows[f'n_{size}'].iloc[0]:,}"
        if measure in known.index:
            value, low, high = known.loc[measure, ["correlation", "lo", "hi"]]
            title += f"\nρ with held-out {_signed(value)} [{_signed(low)}, {_signed(high)}]"
        ax.set_title(title[0].upper() + title[1:])
        ax.set_xticks([1, *range(12, len(order) + 1, 12)])
    axes[0].set_ylabel("Accuracy (%)")
    label = "Rank on the held-out set: the order in which the greedy soup tries"
    figure.supxlabel(f"{label} {len(order)} models", fontsize=8)
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3,
        columnspacing=1.0, handletextpad=0.4,
    )  # fmt: skip
    return figure
