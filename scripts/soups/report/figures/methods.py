"""Figures of the methods: accuracies, shifts, and the steps of the greedy soup."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from soups.report import presentation, style
from soups.report.words import USUAL, Words
from soups.roles import BASE, BEST, GREEDY, INITIALIZATION, UNIFORM, ZEROSHOT, Roles

# Roles that are highlighted among the ingredients, in drawing order.
HIGHLIGHTED = (ZEROSHOT, INITIALIZATION, BEST, UNIFORM, GREEDY)


def _individuals(models: pd.DataFrame) -> pd.DataFrame:
    """The sweep's own ingredients that have accuracies. Starting points have no variant."""
    return models[(models["variant"] == BASE) & models["test"].notna()]


def _scatter(ax, models, methods, roles: Roles, y: str, intervals: bool) -> None:
    ax.scatter(100 * models["test"], 100 * models[y], **style.marker(style.INGREDIENT))
    methods = methods.set_index("method")
    for role, method in roles.among(HIGHLIGHTED, methods.index).items():
        row = 100 * methods.loc[method, ["test", y]].astype(float)
        if intervals:
            bounds = 100 * methods.loc[method, ["test_lo", "test_hi", f"{y}_lo", f"{y}_hi"]]
            x_lo, x_hi, y_lo, y_hi = bounds.astype(float)
            ax.errorbar(
                row["test"], row[y],
                xerr=[[row["test"] - x_lo], [x_hi - row["test"]]],
                yerr=[[row[y] - y_lo], [y_hi - row[y]]],
                color=style.COLOURS[role], elinewidth=0.8, zorder=3,
            )  # fmt: skip
        ax.scatter(row["test"], row[y], **style.marker(role, roles.title(method)))


def scatter(
    models: pd.DataFrame, methods: pd.DataFrame, roles: Roles, words: Words = USUAL
) -> Figure:
    """Test accuracy against the mean over shifts (paper, figure 1)."""
    individuals = _individuals(models)
    figure, ax = plt.subplots(figsize=(style.WIDTH * 1.25, style.WIDTH))
    _scatter(ax, individuals, methods, roles, "shifts_mean", intervals=True)
    ax.set_xlabel(f"{words.axis('test')}, n = {methods['n_test'][0]:,}")
    ax.set_ylabel(words.upright("shifts_mean", methods["n_shifts"][0]))
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def shifts(
    models: pd.DataFrame, methods: pd.DataFrame, roles: Roles, words: Words = USUAL
) -> Figure:
    """Test accuracy against accuracy under each shift, with a panel per shift."""
    names = presentation.shift_names(methods)
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(style.WIDE, 0.4 + 2.0 * rows), squeeze=False
    )
    individuals = _individuals(models)
    for ax, name in zip(axes.flat, names, strict=False):
        _scatter(ax, individuals, methods, roles, name, intervals=False)
        ax.set_title(presentation.shift_label(name))
        ax.margins(0.08)
    for ax in axes.flat[len(names) :]:
        ax.axis("off")
    figure.supxlabel(f"{words.axis('test')}, n = {methods['n_test'][0]:,}", fontsize=8)
    figure.supylabel(words.axis("shift"), fontsize=8)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    if len(names) < rows * columns:
        axes.flat[-1].legend(handles, labels, loc="center")
    else:
        figure.legend(handles, labels, loc="outside upper center", ncols=3)
    return figure


def greedy_trace(trace: pd.DataFrame, methods: pd.DataFrame, words: Words = USUAL) -> Figure:
    """Held-out accuracy of the soup as candidates are tried in order.

    A candidate whose trial ended early has a bound of its accuracy, which gets a mark of its own.
    """
    figure, ax = plt.subplots(figsize=(style.WIDE, 2.4))
    steps = trace["step"]
    kept = trace["accepted"].astype(bool)
    bound = trace["at_most"] if "at_most" in trace else trace["with"] * float("nan")
    exact, early = ~kept & bound.isna(), ~kept & bound.notna()
    left_out = style.COLOURS[style.INGREDIENT]
    soup = 100 * trace["with"].where(kept).ffill()
    ax.step(steps, soup, where="post", color=style.COLOURS[GREEDY], linewidth=1.5)
    ax.scatter(
        steps[kept], 100 * trace["with"][kept], color=style.COLOURS[GREEDY], marker="o", s=28,
        zorder=3, label="added: the average with it is at least as good",
    )  # fmt: skip
    if exact.any():
        ax.scatter(
            steps[exact], 100 * trace["with"][exact], color=left_out, marker="x", s=28, zorder=3,
            label="left out: the average with it is worse",
        )  # fmt: skip
    if early.any():
        ax.scatter(
            steps[early], 100 * bound[early], color=left_out, marker="v", s=28, zorder=3,
            label="left out early: the average with it is at most this good",
        )  # fmt: skip
    ax.set_xticks(steps, trace["candidate"], rotation=90 if len(steps) > 20 else 0)
    ax.grid(axis="x", visible=False)
    ax.set_xlabel(f"Candidate, in order of its own held-out {words.quantity}")
    ax.set_ylabel(f"{words.axis('heldout')}\nn = {methods['n_heldout'][0]:,}")
    figure.legend(loc="outside upper center", ncols=1 if exact.any() and early.any() else 2)
    return figure


def methods(methods: pd.DataFrame, roles: Roles, words: Words = USUAL) -> Figure:
    """Every method's accuracy with its interval, on the test set and on the mean of shifts."""
    figure, axes = plt.subplots(1, 2, figsize=(style.WIDE, 0.7 + 0.19 * len(methods)), sharey=True)
    best = methods.set_index("method").loc[BEST]
    panels = (
        ("test", f"{words.axis('test')}, n = {best['n_test']:,}"),
        ("shifts_mean", f"{words.axis('shifts_mean')}, n = {best['n_shifts']:,}"),
    )
    for ax, (column, label) in zip(axes, panels, strict=True):
        ax.axvline(100 * best[column], color=style.REFERENCE, linewidth=0.8, zorder=1)
        for y, row in methods.iterrows():
            value, low, high = (100 * row[f"{column}{end}"] for end in ("", "_lo", "_hi"))
            colour = style.COLOURS_OF_KINDS[row["kind"]]
            ax.errorbar(
                value, y, xerr=[[value - low], [high - value]], color=colour, fmt="o",
                markersize=4, elinewidth=1, markeredgewidth=1,
                markerfacecolor=colour if row["inference_cost"] == 1 else "white",
            )  # fmt: skip
        ax.set_xlabel(label)
        ax.grid(axis="y", visible=False)
    axes[0].set_yticks(range(len(methods)), [roles.title(name) for name in methods["method"]])
    axes[0].invert_yaxis()
    return figure
