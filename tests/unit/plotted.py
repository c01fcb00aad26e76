"""Read plotted data back from matplotlib's axes."""

import inspect

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from soups.report import figures
from soups.roles import Roles


def draw(name: str, tables: dict[str, pd.DataFrame], roles: Roles | None = None, **options):
    """Draw a figure as `scripts/plot.py` does."""
    function = figures.function(name)
    if "roles" in inspect.signature(function).parameters:
        options["roles"] = roles or Roles.named()
    return function(**tables, **options)


def scatters(ax: Axes) -> list[PathCollection]:
    """The scatter collections of an axes, without empty ones."""
    found = (part for part in ax.collections if isinstance(part, PathCollection))
    return [part for part in found if len(part.get_offsets())]


def points(*parts: PathCollection) -> np.ndarray:
    """The points of scatters, shape (n, 2)."""
    return np.concatenate([np.asarray(part.get_offsets(), float) for part in parts])


def xy(line: Line2D) -> np.ndarray:
    """The points of a line, shape (n, 2)."""
    return np.column_stack([np.asarray(data, float) for data in line.get_data()])


def bars(ax: Axes, axis: str) -> np.ndarray:
    """Ends of the error bars along an axis, shape (n, 2), in the order in which they were drawn."""
    column = "xy".index(axis)
    ends = []
    for container in ax.containers:
        for collection in container[2]:
            segments = np.asarray(collection.get_segments(), float)
            if (np.ptp(segments[:, :, 1 - column], axis=1) == 0).all():
                ends.append(segments[:, :, column])
    return np.concatenate(ends)


def centres(ax: Axes) -> np.ndarray:
    """The middles of error bars that are drawn with markers, shape (n, 2)."""
    return np.concatenate([xy(container[0]) for container in ax.containers])


def texts(parts) -> list[str]:
    """The strings of tick labels, legend entries or annotations."""
    return [part.get_text() for part in parts]


def legend(owner: Figure | Axes) -> list[str]:
    """The entries of the legend of a figure or an axes."""
    found = owner.legends[0] if isinstance(owner, Figure) else owner.get_legend()
    return texts(found.get_texts())


def percent(table: pd.DataFrame, *columns: str) -> np.ndarray:
    """Columns of fractions in percent, shape (rows, columns)."""
    return 100 * table[list(columns)].to_numpy(float)


def same_points(found: np.ndarray, wanted: np.ndarray) -> None:
    """Check that two sets of points are equal in any order."""
    assert found.shape == wanted.shape
    order = [np.lexsort(part.round(9).T) for part in (found, wanted)]
    np.testing.assert_allclose(found[order[0]], wanted[order[1]])


def look(figure: Figure) -> list:
    """Colour, shape, size and place of all lines and collections of a figure, without its words."""
    out = []
    for ax in figure.axes:
        for line in ax.lines:
            out.append((to_hex(line.get_color()), line.get_marker(), xy(line).tolist()))
        for part in ax.collections:
            colours = [to_hex(colour) for colour in part.get_facecolor()]
            shapes = [path.vertices.tolist() for path in part.get_paths()]
            sizes = part.get_sizes().tolist() if isinstance(part, PathCollection) else None
            offsets = np.asarray(part.get_offsets(), float).tolist()
            out.append((colours, shapes, sizes, offsets))
    return out
