"""One look for every figure: column width, legible, safe for colour-blind readers."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from soups.files import replacing
from soups.report.presentation import TITLES, title

WIDTH = 3.4  # inches, one column of a two-column page
WIDE = 7.0  # inches, both columns

# Okabe and Ito's palette: told apart with any colour vision; markers differ as well.
COLOURS = {
    "ingredient": "#7f7f7f",
    "best_individual": "#0072B2",
    "uniform": "#E69F00",
    "greedy": "#D55E00",
    "initialization": "#009E73",
    "zeroshot": "#000000",
    "learned_by_layer": "#56B4E9",
    "ensemble": "#CC79A7",
    "greedy_ensemble": "#8A3A67",
}
OTHERS = [("#5B5B8C", "h"), ("#7A5C00", "d"), ("#2A7B7B", ">"), ("#A05A5A", "H")]
# What a kind of method is drawn in where there are too many for a colour each.
KINDS = {
    "model": COLOURS["best_individual"],
    "soup": COLOURS["greedy"],
    "ensemble": COLOURS["ensemble"],
    "oracle": COLOURS["ingredient"],
    "start": COLOURS["initialization"],
}
MARKERS = {
    "ingredient": "o",
    "best_individual": "P",
    "uniform": "s",
    "greedy": "*",
    "initialization": "D",
    "zeroshot": "^",
    "learned_by_layer": "p",
    "ensemble": "v",
    "greedy_ensemble": "<",
}
# For lines that have no name of their own: dark enough to be told apart, and by shape.
CYCLE = [
    ("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#8A3A67", "D"), ("#7A5C00", "v"),
    ("#5B5B8C", "P"), ("#000000", "X"),
]  # fmt: skip
SEQUENTIAL = "cividis"  # ordered for any colour vision
LABELS = {"ingredient": "fine-tuned model"} | TITLES


def hyperparameter(name: str) -> str:
    """A hyperparameter in words."""
    words = {
        "lr": "learning rate",
        "augment": "augmentation",
        "rand_augment_ops": "RandAugment operations",
        "rand_augment_magnitude": "RandAugment magnitude",
    }
    return words.get(name, name.replace("_", " "))


def use() -> None:
    """Set matplotlib's defaults; files carry no dates, so equal data gives equal bytes."""
    plt.rcParams.update(
        {
            "font.size": 8,
            "axes.titlesize": 8,
            "axes.labelsize": 8,
            "legend.fontsize": 7,
            "xtick.labelsize": 7,
            "ytick.labelsize": 7,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.color": "#e5e5e5",
            "grid.linewidth": 0.5,
            "axes.axisbelow": True,
            "legend.frameon": False,
            "figure.constrained_layout.use": True,
            "savefig.dpi": 300,
            "pdf.fonttype": 42,
        }
    )


def save(figure: Figure, paths) -> None:
    """Write a figure to every path, format by ending."""
    for path in paths:
        with replacing(path) as aside:
            metadata = {"CreationDate": None} if str(path).endswith(".pdf") else None
            figure.savefig(aside, metadata=metadata)
    plt.close(figure)


def marker(method: str, size: float = 36, other: int = 0) -> dict:
    """Scatter keywords of a method; ``other`` counts those without a look of their own."""
    colour, shape = OTHERS[other % len(OTHERS)]
    big = {"greedy": 2.6, "ingredient": 0.55}.get(method, 1.0)
    return {
        "color": COLOURS.get(method, colour),
        "marker": MARKERS.get(method, shape),
        "s": size * big,
        "label": LABELS.get(method, title(method)),
        "edgecolors": "white" if method != "ingredient" else "none",
        "linewidths": 0.5,
        "zorder": 2 if method == "ingredient" else 4,
        "alpha": 0.75 if method == "ingredient" else 1,
    }
