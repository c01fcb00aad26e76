"""The figure with an example image of each class from every set."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from soups.data.prepared import PreparedSet
from soups.images import examples
from soups.report import presentation
from soups.report.figures.sheet import contact_sheet


def sheet(sets: Sequence[PreparedSet], classes: Sequence[str], params: Mapping) -> Figure:
    """One example of every class in every set. Renditions get one column per style.

    Args:
        sets: the test set and the shifts.
        classes: names of the classes that are shown, the first ones of all.
        params: parameters of the rule ``contact_sheet``.
    """
    columns = {}
    for data in sets:
        rows_of = {"": np.arange(len(data.labels))}
        if params.by_style:
            rows_of = examples.by_style(data)
        for name, rows in rows_of.items():
            title = presentation.shift_label(data.name) + (f": {name}" if name else "")
            columns[title] = examples.first_of_classes(data, rows, len(classes))
    return contact_sheet(columns, list(classes))
