"""The figure of example images of every class and set."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from soups.report import style


def contact_sheet(columns: dict[str, np.ndarray], classes: list[str]) -> Figure:
    """Example images, with classes as rows and sets or styles as columns.

    Args:
        columns: title to images, uint8, shape (len(classes), h, w, 3). A missing example is
            all 255.
        classes: row titles.
    """
    first = next(iter(columns.values()))
    side, gap = first.shape[1], max(1, first.shape[1] // 16)
    cell = side + gap
    sheet = np.full((cell * len(classes) + gap, cell * len(columns) + gap, 3), 255, np.uint8)
    for x, images in enumerate(columns.values()):
        for y, image in enumerate(images):
            top, left = gap + y * cell, gap + x * cell
            sheet[top : top + side, left : left + side] = image
    width = min(style.WIDE, 1.0 + 0.45 * len(columns))
    inch = (width - 0.9) / len(columns)
    figure, ax = plt.subplots(figsize=(width, inch * len(classes) + 0.8))
    ax.imshow(sheet, interpolation="nearest")
    centres = gap + side / 2 - 0.5
    columns, classes = [list(map(style.drawable, names)) for names in (columns, classes)]
    ax.set_xticks(centres + cell * np.arange(len(columns)), columns, rotation=45, ha="left")
    ax.xaxis.tick_top()
    ax.set_yticks(centres + cell * np.arange(len(classes)), classes)
    ax.grid(False)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return figure
