"""The figure of all claims: effects and intervals against margins."""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from soups.outcomes import (
    CONTRADICTED,
    INCONCLUSIVE,
    NO_DIFFERENCE,
    SUPPORTED,
)
from soups.report import presentation, style

# Colour and mark of each verdict. They differ in lightness and in shape.
LOOKS = {
    SUPPORTED: ("#009E73", "o"),
    NO_DIFFERENCE: ("#0072B2", "s"),
    CONTRADICTED: ("#D55E00", "X"),
    INCONCLUSIVE: ("#6b6b6b", "D"),
}
MOST = 30.0  # margins at which the axis ends; an interval that goes on has an arrow
LINEAR = 2.0
RECORDED = "evidence_"
TICKS = [-20, -5, -2, -1, 0, 1, 2, 5, 20]


def forest(claims: pd.DataFrame) -> Figure:
    """The deciding effect of every claim, in units of its margin, with its interval.

    Args:
        claims: ``claims.csv``. The columns of recorded evidence may be missing.
    """
    both = [""] + [RECORDED] * (f"{RECORDED}verdict" in claims)
    shown = claims[[any(_drawn(row, prefix) for prefix in both) for _, row in claims.iterrows()]]
    if shown.empty:
        return style.blank("No claim has an effect with an interval.")
    figure, ax = plt.subplots(figsize=(style.WIDE, 0.9 + 0.29 * len(shown)))
    ax.axvspan(-1, 1, color="#ececec", zorder=0)
    ax.axvline(0, color="black", linewidth=0.8, zorder=1)
    places = np.arange(len(shown))
    for place, (_, row) in zip(places, shown.iterrows(), strict=True):
        for prefix in both:
            if _drawn(row, prefix):
                _interval(ax, place, row, prefix, len(both) > 1)
    _axes(ax, shown, places)
    figure.legend(
        handles=_legend(shown, both), loc="outside upper center", ncols=4, columnspacing=1.2,
        handletextpad=0.3,
    )  # fmt: skip
    return figure


def in_margins(row: pd.Series, prefix: str = "") -> tuple[float, float, float]:
    """An effect and the ends of its interval in units of the margin of its test."""
    values = np.array([row[f"{prefix}{name}"] for name in ("effect", "lo", "hi")], float)
    margin = float(row[f"{prefix}margin"])
    if row[f"{prefix}rule"] == "within":
        values = np.log(np.maximum(values, margin**-MOST)) / np.log(margin)
    else:
        values = values / margin
    return tuple(values)


def _drawn(row: pd.Series, prefix: str) -> bool:
    numbers = [row.get(f"{prefix}{name}") for name in ("effect", "lo", "hi", "margin")]
    return row[f"{prefix}verdict"] in LOOKS and not any(map(pd.isna, numbers)) and numbers[3] > 0


def _interval(ax, place: int, row: pd.Series, prefix: str, several: bool) -> None:
    value, low, high = in_margins(row, prefix)
    colour, mark = LOOKS[row[f"{prefix}verdict"]]
    y = place + (0.2 if prefix else -0.16 if several else 0)
    ends = np.clip([low, high], -MOST, MOST)
    ax.plot(ends, [y, y], color=colour, linewidth=1.0 if prefix else 1.8, zorder=2)
    for end, limit, arrow in ((low, -MOST, "<"), (high, MOST, ">")):
        if abs(end) > MOST and np.sign(end) == np.sign(limit):
            ax.plot(limit, y, arrow, color=colour, markersize=4, zorder=2)
    look = {"markersize": 3.6, "markerfacecolor": "white"} if prefix else {"markersize": 5.5}
    ax.plot(np.clip(value, -MOST, MOST), y, mark, color=colour, zorder=3, **look)
    told = presentation.effect(_without(row, prefix)).replace("-", "−")
    ax.annotate(
        told, (1.01, y), xycoords=("axes fraction", "data"), va="center", color=colour,
        fontsize=5.6 if several else 6.5, annotation_clip=False,
    )  # fmt: skip


def _without(row: pd.Series, prefix: str) -> pd.Series:
    """The columns of this run, or those of recorded evidence under the same names."""
    return row[[f"{prefix}{name}" for name in ("effect", "lo", "hi", "unit")]].rename(
        lambda name: name.removeprefix(prefix)
    )


def _axes(ax, shown: pd.DataFrame, places: np.ndarray) -> None:
    ax.set_xscale("symlog", linthresh=LINEAR, linscale=1.6)
    ax.set_xlim(-MOST * 1.1, MOST * 1.1)
    ax.set_xticks(TICKS, [f"{tick:g}".replace("-", "−") for tick in TICKS])
    ax.xaxis.set_minor_locator(plt.NullLocator())
    ax.set_xlabel("Effect in margins (against the claim ← 0 → for the claim)")
    labels = [textwrap.fill(f"{row['claim']}. {row['text']}", 46) for _, row in shown.iterrows()]
    ax.set_yticks(places, labels, fontsize=6.5, linespacing=0.95)
    ax.set_ylim(len(shown) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", visible=False)
    ax.spines["left"].set_visible(False)
    ax.set_title("points, ρ or slope", fontsize=6.5, loc="right", x=1.2)


def _legend(shown: pd.DataFrame, both: list[str]) -> list[Line2D]:
    found = {row[f"{prefix}verdict"] for prefix in both for _, row in shown.iterrows()}
    made = [
        Line2D([], [], color=colour, marker=mark, markersize=5.5, linewidth=1.8, label=verdict)
        for verdict, (colour, mark) in LOOKS.items()
        if verdict in found
    ]
    if len(both) > 1:
        made += [
            Line2D([], [], color="black", marker="o", markersize=5.5, linewidth=1.8,
                   label="this run"),
            Line2D([], [], color="black", marker="o", markersize=3.6, linewidth=1.0,
                   markerfacecolor="white", label="recorded evidence"),
        ]  # fmt: skip
    return made
