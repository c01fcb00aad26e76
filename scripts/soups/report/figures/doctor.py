"""The figure of the soup doctor: where the models lie, and the barriers to the best of them."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from soups.outcomes import BARRIER, FINE, FROM_START
from soups.report import style
from soups.roles import BEST, INITIALIZATION

BARRIERS = "coolwarm"  # blue: the average is better than the chord, red: a barrier
LEAST = 5.0  # points at the ends of the colour bar, if no barrier is larger
FAR = 3.0  # times the median distance; models further away stand there, with an arrow
LABELLED = 16  # most models with a name on the map; of more, only those that are not fine
MARKERS = {
    FINE: "o", "left the basin": "X", "other initialisation": "s", "other head": "^",
    "other class order": "v", "at chance": "D", "batch norm": "h", "barely trained": "<",
    "duplicate": "p", "other cluster": ">",
}  # fmt: skip
RINGS = ("#8A3A67", "#2A7B7B", "#7A5C00", "#000000")  # of clusters, from the second
ROW = 0.165  # inches
LETTER = 0.025  # of the height of the map, the width of a letter
APART = 0.06  # of the height of the map, between two names


def doctor(doctor: pd.DataFrame) -> Figure:
    """A map of the models around their start, and the barrier of each to the best one."""
    if "distance" not in doctor:  # The table has no evidence then.
        return style.blank("There is nothing to draw.\nAll models are left out.")
    placed = doctor[doctor["distance"].notna()].reset_index(drop=True)
    height = max(3.1, 0.9 + ROW * len(doctor))
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(style.WIDE, height), width_ratios=[1.25, 1], layout="constrained"
    )
    barriers = 100 * placed["barrier"]
    most = max(LEAST, float(barriers.max()) if barriers.notna().any() else 0)
    norm = Normalize(-most, most, clip=True)
    _map(left, placed, norm)
    _barriers(right, doctor, norm)
    shades = plt.cm.ScalarMappable(norm, BARRIERS)
    bar = figure.colorbar(
        shades, ax=[left, right], location="bottom", aspect=75, pad=0.02, extend="min"
    )
    bar.set_label("Barrier to the best model (points of accuracy below the chord)")
    handles, words = left.get_legend_handles_labels()
    figure.legend(handles, words, loc="outside upper center", ncols=5, columnspacing=1.2)
    return figure


def _map(ax, placed: pd.DataFrame, norm: Normalize) -> None:
    """Every model in its plane through the origin and the best model, folded onto the page."""
    angle = np.deg2rad(placed["angle"].fillna(0).to_numpy())
    distance = placed["distance"].to_numpy()
    rim = FAR * np.median(distance) if len(distance) else 1.0
    near = np.minimum(distance, rim)
    x, y = near * np.cos(angle), near * np.sin(angle)
    best = int(placed["is_best"].to_numpy().argmax())
    colours = plt.get_cmap(BARRIERS)(norm(100 * placed["barrier"].fillna(0)))
    for i in range(len(placed)):
        if i != best:
            ax.plot([x[best], x[i]], [y[best], y[i]], color=colours[i], linewidth=1, zorder=2)
    for verdict, rows in placed.drop(best).groupby("verdict", sort=False):
        ax.scatter(
            x[rows.index], y[rows.index], color=colours[rows.index], s=38, linewidths=0.7,
            marker=MARKERS.get(verdict, "o"), edgecolors="black", zorder=4,
        )  # fmt: skip
        ax.scatter(
            [], [], color="#dddddd", s=38, linewidths=0.7, marker=MARKERS.get(verdict, "o"),
            edgecolors="black", label=verdict,
        )  # fmt: skip
    _rings(ax, placed["cluster"], x, y, named=True)
    is_top = placed["heldout"][best] == placed["heldout"].max()
    words = "best model" if is_top else "best of most models"
    look = style.marker(BEST, f"{words} ({placed['model'][best]})", size=60)
    ax.scatter(x[best], y[best], **look)
    from_start = placed["origin"][best] == FROM_START
    look = style.marker(INITIALIZATION, "start (θ₀)" if from_start else "mean of the models")
    ax.scatter(0, 0, **look)
    named = [
        i
        for i, verdict in enumerate(placed["verdict"])
        if i != best and (len(placed) <= LABELLED or verdict != FINE)
    ]
    far = [" ↑" if d > rim else "" for d in distance]
    texts = [f"{model}{more}" for model, more in zip(placed["model"], far, strict=True)]
    extent = max(np.ptp([0, *y]), 0.3 * np.ptp([0, *x]), 1e-9)
    _label(ax, [(x[i], y[i], texts[i]) for i in named], extent)
    ax.set_aspect("equal", adjustable="datalim")
    ax.margins(0.12)
    room = [x[i] - (0.1 + LETTER * len(texts[i])) * extent for i in named]
    ax.update_datalim([(left, 0) for left in room])
    ax.autoscale_view()
    ax.set_xlabel("Distance along the direction of the best model")
    ax.set_ylabel("Distance across")


def _rings(ax, clusters: pd.Series, x, y, named: bool = False) -> None:
    """Draw a ring around each member of the second and further clusters."""
    numbers = clusters.to_numpy(float)
    for number in np.unique(numbers[numbers > 1]).astype(int):
        rows = numbers == number
        ax.scatter(
            x[rows], y[rows], s=110, facecolors="none", linewidths=1.4, zorder=3,
            edgecolors=RINGS[(number - 2) % len(RINGS)],
            label=f"cluster {number} ({rows.sum()} models)" if named else None,
        )  # fmt: skip


def _label(ax, places: list[tuple[float, float, str]], extent: float) -> None:
    """Write names to the left of points, one above the other where points are close."""
    above = -np.inf
    for x, y, text in sorted(places, key=lambda place: place[1]):
        above = max(y, above + APART * extent)
        ax.annotate(
            text, (x, y), xytext=(x - 0.07 * extent, above), fontsize=5.5, ha="right", va="center",
            zorder=5, arrowprops={"arrowstyle": "-", "linewidth": 0.4, "color": "#777777"},
        )  # fmt: skip


def _barriers(ax, doctor: pd.DataFrame, norm: Normalize) -> None:
    """The barrier of every model with its interval, the largest on top."""
    rows = doctor[~doctor["is_best"]].sort_values("barrier", na_position="first", kind="stable")
    drop, low, high = (
        100 * rows[c].to_numpy(float) for c in ("barrier", "barrier_lo", "barrier_hi")
    )
    places = np.arange(len(rows))
    ax.axvline(0, color="#888888", linewidth=0.8, zorder=1)
    ax.axvline(100 * BARRIER, color="#888888", linewidth=0.8, linestyle="--", zorder=1)
    known = np.isfinite(drop)
    _rings(ax, rows["cluster"], drop, places)
    ax.hlines(places[known], low[known], high[known], color="#777777", linewidth=1, zorder=2)
    colours = plt.get_cmap(BARRIERS)(norm(np.nan_to_num(drop)))
    for i, verdict in enumerate(rows["verdict"]):
        if known[i]:
            ax.scatter(
                drop[i], places[i], color=[colours[i]], s=30, edgecolors="black", linewidths=0.7,
                marker=MARKERS.get(verdict, "o"), zorder=3,
            )  # fmt: skip
    names = [
        model if verdict == FINE else f"{model}, {verdict}"
        for model, verdict in zip(rows["model"], rows["verdict"], strict=True)
    ]
    ax.set_yticks(places, names)
    ax.set_ylim(-0.7, len(rows) - 0.3)
    ax.grid(False, axis="y")
    images = int(doctor["n_barrier"].max()) if doctor["n_barrier"].notna().any() else 0
    ax.set_xlabel(f"Barrier (points), n = {images:,} held-out")
    ax.set_title("A barrier counts if its whole\ninterval lies beyond the dashed line", fontsize=7)
