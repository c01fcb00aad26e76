"""The figure with an example text of each class from every set."""

import textwrap
import unicodedata
from collections.abc import Iterator, Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from soups.data.prepared import PreparedSet
from soups.report import presentation, style

SIZE, LINE = 7, 9  # points: of the font, and from one line to the next
GAP = 5  # points between two rows
LINES = 4  # lines of a text that are shown
CHARACTER = 0.55 * SIZE  # points that a character takes, on average
WIDEST = 18  # characters of the columns with the set and the class
MARGIN = 6  # points between two columns, and around the table


def sheet(sets: Sequence[PreparedSet], classes: Sequence[str]) -> Figure:
    """A table with one short text of each class from every set.

    Args:
        sets: the test set and the shifts.
        classes: names of the training classes that are shown.
    """
    rows = [row for data in sets for row in _rows(data, classes)]
    pairs = any(len(texts) > 1 for _, _, texts in rows)
    titles = ["set", "class", *(["first text", "second text"] if pairs else ["text"])]
    names = [_width([titles[i], *(row[i] for row in rows)]) for i in (0, 1)]
    rest = (72 * style.WIDE - sum(names) - MARGIN) / (2 if pairs else 1)
    wraps = [*names, *[rest] * (2 if pairs else 1)]
    left = [MARGIN + sum(wraps[:i]) for i in range(len(wraps))]
    cells = [
        [_wrapped(cell, width) for cell, width in zip([a, b, *texts], wraps, strict=False)]
        for a, b, texts in rows
    ]
    heights = [GAP + LINE * max(map(len, row)) for row in cells]
    height = sum(heights) + LINE + 2 * GAP
    figure = plt.figure(figsize=(style.WIDE, height / 72), layout="none")
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, 72 * style.WIDE), ylim=(height, 0))
    ax.axis("off")
    for x, title in zip(left, titles, strict=True):
        _put(ax, x, GAP, [title], weight="bold")
    top, before = LINE + 2 * GAP, None
    for row, tall, lines in zip(rows, heights, cells, strict=True):
        first = row[0] != before
        if first:
            colour = "black" if before is None else "#bbbbbb"
            ax.hlines(top, MARGIN, 72 * style.WIDE - MARGIN, colour, linewidth=0.5)
        for i, (x, cell) in enumerate(zip(left, lines, strict=False)):
            if i or first:
                _put(ax, x, top + GAP / 2, cell)
        top, before = top + tall, row[0]
    return figure


def _rows(data: PreparedSet, classes: Sequence[str]) -> Iterator[tuple[str, str, list[str]]]:
    """Label of the set, name of the class and texts of an example, for each class of a set."""
    for name in classes:
        mine = [each for each in data.meta["examples"] if each["label"] == name]
        if mine:
            shown = min(mine, key=lambda each: len(each["text"] + each.get("second", "")))
            texts = [style.drawable(shown[key]) for key in ("text", "second") if key in shown]
            yield presentation.shift_label(data.name), style.drawable(name), texts


def _width(cells: Sequence[str]) -> float:
    """Points that a column of short cells takes."""
    return CHARACTER * min(WIDEST, max(map(_length, cells))) + 2 * MARGIN


def _length(text: str) -> int:
    """Characters of a text, where wide ones such as those of Chinese count double."""
    return sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text)


def _wrapped(text: str, width: float) -> list[str]:
    """The lines of a text in a column, with an ellipsis where lines are left out."""
    wide = _length(text) / max(1, len(text))
    characters = max(8, int((width - MARGIN) / CHARACTER / wide))
    return textwrap.wrap(text, characters, max_lines=LINES, placeholder=" …") or [""]


def _put(ax: Axes, x: float, top: float, lines: Sequence[str], **how) -> None:
    """Write lines, each on a baseline of its own, so that those of all columns are level."""
    for i, line in enumerate(lines):
        ax.text(x, top + (i + 0.8) * LINE, line, fontsize=SIZE, va="baseline", **how)
