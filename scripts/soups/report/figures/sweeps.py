"""Figures of how ingredients were trained: the sweep, training variants, the start."""

from collections.abc import Mapping
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from soups.hyperparameters import TEXT
from soups.report import style
from soups.report.words import USUAL, Words
from soups.roles import (
    BASE,
    BEST,
    ENSEMBLE,
    GREEDY,
    INITIALIZATION,
    PLAIN,
    TRAINED_OTHERWISE,
    UNIFORM,
    ZEROSHOT,
    Roles,
)

LOGARITHMIC = ("lr", "weight_decay")  # hyperparameters on a logarithmic axis


def sweep(
    models: pd.DataFrame, methods: pd.DataFrame, roles: Roles, words: Words = USUAL
) -> Figure:
    """Accuracy of the sweep's ingredients against every hyperparameter that varies."""
    everything = models[models["variant"] == BASE]
    rows = everything[everything["test"].notna()]  # Models that are left out have no accuracies.
    columns = list(models.columns[2 : models.columns.get_loc("heldout")])
    # Tables of ready-made models may have columns of text.
    numbers = rows[columns].select_dtypes("number").columns
    varying = [
        n
        for n in columns
        if n in numbers and n not in ("seed", *TEXT) and everything[n].nunique() > 1
    ]
    taken = _members(methods, roles.row(GREEDY))
    kept = rows["model"].isin(taken)
    figure, axes = plt.subplots(
        2, max(1, len(varying)), figsize=(style.WIDE, 3.4), sharex="col", sharey="row",
        squeeze=False,
    )  # fmt: skip
    measures = (
        ("test", f"{words.axis('test')}\nn = {methods['n_test'][0]:,}"),
        ("shifts_mean", f"Mean over shifts ({words.scale})\nn = {methods['n_shifts'][0]:,}"),
    )
    for x, name in enumerate(varying):
        for y, (column, label) in enumerate(measures):
            ax = axes[y, x]
            ax.scatter(
                rows[name][~kept], 100 * rows[column][~kept], color=style.COLOURS[style.INGREDIENT],
                s=16, label=style.LABELS[style.INGREDIENT],
            )  # fmt: skip
            ax.scatter(
                rows[name][kept], 100 * rows[column][kept], color=style.COLOURS[GREEDY], s=20,
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


def _members(methods: pd.DataFrame, row: str | None) -> set[str]:
    """The ingredients of a soup, or none if the table lacks it."""
    rows = methods[methods["method"] == row]
    return set(rows["members"].iloc[0].split()) if len(rows) else set()


def averaging(significance: pd.DataFrame, roles: Roles, words: Words = USUAL) -> Figure:
    """Soups of models trained in other ways, minus the soup of the same models trained as usual."""
    plain = roles.row(PLAIN)
    rows = significance[(significance["reference"] == plain) & (significance["as"] == plain)]
    names = list(roles.among(TRAINED_OTHERWISE, rows["method"]).values())
    figure, axes = plt.subplots(1, 2, figsize=(style.WIDE, 0.8 + 0.24 * len(names)), sharey=True)
    for ax, (measure, label) in zip(
        axes, (("test", words.label("test")), ("shifts_mean", "Mean over shifts")), strict=True
    ):
        part = rows[rows["measure"] == measure].set_index("method").loc[names]
        value, low, high = (100 * part[name] for name in ("difference", "lo", "hi"))
        ax.errorbar(
            value, np.arange(len(names)), xerr=[value - low, high - value], fmt="o",
            color=style.COLOURS[GREEDY], markersize=4, elinewidth=1,
        )  # fmt: skip
        ax.axvline(0, color=style.REFERENCE, linewidth=0.8)
        ax.set_xlabel(f"{label}: minus the soup of\nsix models as they are (points), "
                      f"n = {part['n'].iloc[0]:,}")  # fmt: skip
        ax.grid(axis="y", visible=False)
    axes[0].set_yticks(range(len(names)), [roles.title(name) for name in names])
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    return figure


# Roles in the figure of pre-training, from top to bottom.
FROM_EITHER_START = (ZEROSHOT, INITIALIZATION, BEST, UNIFORM, GREEDY, ENSEMBLE)


def pretraining(
    methods: pd.DataFrame,
    weaker: pd.DataFrame,
    roles: Roles,
    weaker_roles: Mapping[str, str] | None = None,
    words: Words = USUAL,
) -> Figure:
    """Accuracy of methods from the usual pre-trained model and from a weaker one."""
    theirs = Roles.given(weaker_roles)
    ours = {row: roles.row(theirs.of(row)) or row for row in weaker["method"]}
    weaker = weaker.assign(method=weaker["method"].map(ours))
    tables = {"usual": methods.set_index("method"), "weaker": weaker.set_index("method")}
    both = set(methods["method"]) & set(weaker["method"])
    names = list(roles.among(FROM_EITHER_START, both).values())
    figure, axes = plt.subplots(1, 2, figsize=(style.WIDE, 2.9), sharey=True)
    measures = (
        ("test", "n_test", words.label("test")),
        ("shifts_mean", "n_shifts", "Mean over shifts"),
    )
    for ax, (column, count, label) in zip(axes, measures, strict=True):
        for offset, (start, table) in zip((-0.14, 0.14), tables.items(), strict=True):
            rows = 100 * table.loc[names, [column, f"{column}_lo", f"{column}_hi"]].astype(float)
            value, low, high = (rows[name] for name in rows)
            ax.errorbar(
                value, np.arange(len(names)) + offset, xerr=[value - low, high - value],
                fmt="o" if start == "usual" else "s", markersize=4, elinewidth=1,
                color=style.COLOURS[GREEDY if start == "usual" else BEST],
                label=f"{start} pre-training",
            )  # fmt: skip
        ax.set_xlabel(f"{label} ({words.scale}), n = {methods[count][0]:,}")
        ax.grid(axis="y", visible=False)
    axes[0].set_yticks(range(len(names)), [roles.title(name) for name in names])
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure
