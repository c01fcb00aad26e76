"""Figures of how ingredients were trained: the sweep, averages along the way, the start."""

from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from soups.hyperparameters import TEXT
from soups.report import presentation, style
from soups.roles import BASE

LOGARITHMIC = ("lr", "weight_decay")


def sweep(models: pd.DataFrame, methods: pd.DataFrame) -> Figure:
    """Accuracy of the sweep's ingredients against every hyperparameter that varies."""
    rows = models[models["variant"] == BASE]
    columns = list(models.columns[2 : models.columns.get_loc("heldout")])
    varying = [n for n in columns if n not in ("seed", *TEXT) and rows[n].nunique() > 1]
    taken = set(_members(methods))
    kept = rows["model"].isin(taken)
    figure, axes = plt.subplots(
        2, max(1, len(varying)), figsize=(style.WIDE, 3.4), sharex="col", sharey="row",
        squeeze=False,
    )  # fmt: skip
    measures = (("test", "Test accuracy (%)"), ("shifts_mean", "Mean over shifts (%)"))
    for x, name in enumerate(varying):
        for y, (column, label) in enumerate(measures):
            ax = axes[y, x]
            ax.scatter(
                rows[name][~kept], 100 * rows[column][~kept], color=style.COLOURS["ingredient"],
                s=16, label="fine-tuned model",
            )  # fmt: skip
            ax.scatter(
                rows[name][kept], 100 * rows[column][kept], color=style.COLOURS["greedy"], s=20,
                marker="D", label="ingredient of the greedy soup",
            )  # fmt: skip
            ax.margins(x=0.1)
            if name in LOGARITHMIC and rows[name].min() > 0:
                ax.set_xscale("log")
                ax.xaxis.set_minor_formatter(NullFormatter())
                ends = [float(f"{rows[name].agg(end):.1g}") for end in ("min", "max")]
                ax.set_xticks(ends, [f"{end:g}" for end in ends])
            if x == 0:
                ax.set_ylabel(label)
        axes[1, x].set_xlabel(fill(style.hyperparameter(name), 15))
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def _members(methods: pd.DataFrame) -> list[str]:
    greedy = methods[methods["method"] == "greedy"]
    return greedy["members"].iloc[0].split() if len(greedy) else []


def averaging(significance: pd.DataFrame, reference: str) -> Figure:
    """Soups of models trained in other ways, minus the same models as they are."""
    rows = significance[
        (significance["reference"] == reference) & (significance["as"] == reference)
    ]
    names = [n for n in dict.fromkeys(rows["method"]) if n in AVERAGED]
    figure, axes = plt.subplots(1, 2, figsize=(style.WIDE, 0.8 + 0.24 * len(names)), sharey=True)
    for ax, (measure, label) in zip(
        axes, (("test", "Test accuracy"), ("shifts_mean", "Mean over shifts")), strict=True
    ):
        part = rows[rows["measure"] == measure].set_index("method").loc[names]
        value, low, high = (100 * part[name] for name in ("difference", "lo", "hi"))
        ax.errorbar(
            value, np.arange(len(names)), xerr=[value - low, high - value], fmt="o",
            color=style.COLOURS["greedy"], markersize=4, elinewidth=1,
        )  # fmt: skip
        ax.axvline(0, color=style.KINDS["model"], linewidth=0.8)
        ax.set_xlabel(f"{label}: minus the soup of\nsix models as they are (points), "
                      f"n = {part['n'].iloc[0]:,}")  # fmt: skip
        ax.grid(axis="y", visible=False)
    axes[0].set_yticks(range(len(names)), [presentation.title(name) for name in names])
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    return figure


# The rows of experiments/ablations.yaml that are about how ingredients are trained.
AVERAGED = (
    "soup_of_EMA", "soup_of_SWA", "soup_of_SAM", "soup_with_and_without_EMA",
    "soup_with_and_without_SWA", "soup_with_and_without_SAM", "soup_of_layer_decay",
    "soup_from_zeroshot_head", "distilled_model", "greedy", "ensemble",
)  # fmt: skip


def pretraining(methods: pd.DataFrame, weaker: pd.DataFrame) -> Figure:
    """Accuracy of methods from the usual pre-trained model and from a weaker one."""
    names = ["zeroshot", "initialization", "best_individual", "uniform", "greedy", "ensemble"]
    tables = {"usual": methods.set_index("method"), "weaker": weaker.set_index("method")}
    names = [name for name in names if all(name in table.index for table in tables.values())]
    figure, axes = plt.subplots(1, 2, figsize=(style.WIDE, 2.9), sharey=True)
    for ax, (column, label) in zip(
        axes, (("test", "Test accuracy (%)"), ("shifts_mean", "Mean over shifts (%)")), strict=True
    ):
        for offset, (start, table) in zip((-0.14, 0.14), tables.items(), strict=True):
            rows = 100 * table.loc[names, [column, f"{column}_lo", f"{column}_hi"]].astype(float)
            value, low, high = (rows[name] for name in rows)
            ax.errorbar(
                value, np.arange(len(names)) + offset, xerr=[value - low, high - value],
                fmt="o" if start == "usual" else "s", markersize=4, elinewidth=1,
                color=style.COLOURS["greedy" if start == "usual" else "best_individual"],
                label=f"{start} pre-training",
            )  # fmt: skip
        ax.set_xlabel(label)
        ax.grid(axis="y", visible=False)
    axes[0].set_yticks(range(len(names)), [presentation.title(name) for name in names])
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure
