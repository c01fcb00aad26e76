"""One look for every figure: column width, legible, safe for colour-blind readers.

Colours and markers belong to roles, so a row keeps its look when the user renames it.
"""

import logging
import os
import unicodedata
from functools import cache

# A notebook sets a backend that only exists in its own environment, and matplotlib refuses it.
os.environ["MPLBACKEND"] = "agg"

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font

from soups.files import replacing
from soups.roles import (
    BEST,
    ENSEMBLE,
    GREEDY,
    GREEDY_ENSEMBLE,
    INITIALIZATION,
    LEARNED_BY_LAYER,
    TITLES,
    UNIFORM,
    ZEROSHOT,
)

log = logging.getLogger("soups")

FONT = "DejaVu Sans"  # comes with matplotlib
# Fonts for other scripts. Those that are installed are used, in this order.
FALLBACKS = [
    "Noto Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Noto Sans JP",
    "Noto Sans KR", "Source Han Sans SC", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei",
    "IPAexGothic", "Hiragino Sans", "PingFang SC", "Apple SD Gothic Neo", "Microsoft YaHei",
    "Yu Gothic", "Malgun Gothic", "Noto Sans Devanagari", "Noto Sans Arabic", "Noto Sans Thai",
    "Arial Unicode MS", "Noto Emoji", "Symbola", "Segoe UI Emoji", "Segoe UI Symbol",
]  # fmt: skip

WIDTH = 3.4  # inches, one column of a two-column page
WIDE = 7.0  # inches, both columns

INGREDIENT = "ingredient"  # the look of fine-tuned models, which have no row of their own

# Okabe and Ito's palette is distinct for any colour vision. Markers differ as well.
COLOURS = {
    INGREDIENT: "#7f7f7f",
    BEST: "#0072B2",
    UNIFORM: "#E69F00",
    GREEDY: "#D55E00",
    INITIALIZATION: "#009E73",
    ZEROSHOT: "#000000",
    LEARNED_BY_LAYER: "#56B4E9",
    ENSEMBLE: "#CC79A7",
    GREEDY_ENSEMBLE: "#8A3A67",
}
MARKERS = {
    INGREDIENT: "o",
    BEST: "P",
    UNIFORM: "s",
    GREEDY: "*",
    INITIALIZATION: "D",
    ZEROSHOT: "^",
    LEARNED_BY_LAYER: "p",
    ENSEMBLE: "v",
    GREEDY_ENSEMBLE: "<",
}
LABELS = {INGREDIENT: "fine-tuned model"} | TITLES
# Colour and marker of rows whose role has none.
OTHERS = [("#5B5B8C", "h"), ("#7A5C00", "d"), ("#2A7B7B", ">"), ("#A05A5A", "H")]
# Colours of the column `kind` of the methods table, where rows are too many for a colour each.
COLOURS_OF_KINDS = {
    "model": COLOURS[BEST],
    "soup": COLOURS[GREEDY],
    "ensemble": COLOURS[ENSEMBLE],
    "oracle": COLOURS[INGREDIENT],
    "start": COLOURS[INITIALIZATION],
}
REFERENCE = COLOURS_OF_KINDS["model"]  # lines that mark the best individual model, or no difference
# Colour and marker of unnamed lines. They are dark enough to be distinct on white.
CYCLE = [
    ("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#8A3A67", "D"), ("#7A5C00", "v"),
    ("#5B5B8C", "P"), ("#000000", "X"),
]  # fmt: skip
SEQUENTIAL = "cividis"  # its order is visible with any colour vision


def hyperparameter(name: str) -> str:
    """A hyperparameter in words."""
    words = {
        "lr": "learning rate",
        "augment": "augmentation",
        "rand_augment_ops": "RandAugment operations",
        "rand_augment_magnitude": "RandAugment magnitude",
    }
    return words.get(name, name.replace("_", " "))


def fonts() -> list[str]:
    """Return the font of all figures, and installed fonts for characters that it lacks."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    others = [family for family in FALLBACKS if family in installed]
    return [FONT, *others]


@cache
def _characters() -> frozenset[int]:
    """Return the characters that at least one font of the figures has."""
    found: set[int] = set()
    for family in fonts():
        path = font_manager.findfont(font_manager.FontProperties(family=[family]))
        found.update(FT2Font(path).get_charmap())
    return frozenset(found)


def drawable(text: str) -> str:
    """Return a text that figures show as it is written.

    A dollar sign is not the start of a formula. A character that no font has becomes its number,
    such as \\u732b, because matplotlib would draw a box. The log names such characters.
    """
    known = _characters()
    absent = sorted({c for c in text if ord(c) not in known and not _invisible(c)})
    for character in absent:
        _warn(character)
    shown = "".join(
        "" if _invisible(c) else c.encode("unicode_escape").decode() if c in absent else c
        for c in text
    )
    return shown.replace("$", r"\$")


def _invisible(character: str) -> bool:
    """Whether a character, such as a variation selector of an emoji, shows nothing by itself."""
    return unicodedata.category(character) in ("Cf", "Mn") and ord(character) not in _characters()


@cache
def _warn(character: str) -> None:
    name = unicodedata.name(character, "unnamed")
    log.warning(
        "no installed font has the character %r (%s), so figures show its number; a font such as "
        "Noto Sans CJK shows it",
        character,
        name,
    )


def use() -> None:
    """Set matplotlib's defaults."""
    plt.rcParams.update(
        {
            "font.family": fonts(),
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


def blank(text: str) -> Figure:
    """A figure that holds a sentence in place of data."""
    figure, ax = plt.subplots(figsize=(WIDTH * 1.25, WIDTH / 2))
    ax.axis("off")
    ax.text(0.5, 0.5, text, ha="center", va="center")
    return figure


def save(figure: Figure, paths) -> None:
    """Write a figure to every path, in the format of the path's ending.

    Files carry no dates, so equal data gives equal bytes.
    """
    for path in paths:
        with replacing(path) as aside:
            metadata = {"CreationDate": None} if str(path).endswith(".pdf") else None
            figure.savefig(aside, metadata=metadata)
    plt.close(figure)


def marker(look: str | None, label: str | None = None, size: float = 36, other: int = 0) -> dict:
    """Scatter keywords of a look.

    Args:
        look: a role, `INGREDIENT`, or None for a row without a role.
        label: in the legend, by default that of the look.
        size: area in points².
        other: which of `OTHERS` a look without a colour of its own gets.
    """
    colour, shape = OTHERS[other % len(OTHERS)]
    larger = {GREEDY: 2.6, INGREDIENT: 0.55}.get(look, 1.0)
    ingredient = look == INGREDIENT
    # A greedy soup of one model lies where that model does, and the smaller marker is on top.
    above = {INGREDIENT: 2, BEST: 5}.get(look, 4)
    return {
        "color": COLOURS.get(look, colour),
        "marker": MARKERS.get(look, shape),
        "s": size * larger,
        "label": label or LABELS[look],
        "edgecolors": "none" if ingredient else "white",
        "linewidths": 0.5,
        "zorder": above,
        "alpha": 0.75 if ingredient else 1,
    }
