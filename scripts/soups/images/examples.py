"""Example images of prepared sets, one of each class."""

import numpy as np

from soups.data.prepared import PreparedSet


def by_style(data: PreparedSet) -> dict[str, np.ndarray]:
    """Return style to the rows of its images, for a set of the procedural world.

    The first folder in the path of an image is its style. A set of one style has the key "".
    """
    styles, index = np.unique(
        [path.split("/")[0] for path in data.meta["paths"]], return_inverse=True
    )
    if len(styles) == 1:
        return {"": np.arange(len(data.labels))}
    return {str(style): np.flatnonzero(index == s) for s, style in enumerate(styles)}


def first_of_classes(data: PreparedSet, rows: np.ndarray, count: int) -> np.ndarray:
    """Return the first image of each training class among some rows.

    An image of a set's class that stands for several training classes is shown for one of them.

    Args:
        data: the set.
        rows: sorted rows of the images to choose from.
        count: number of training classes.

    Returns:
        uint8, shape (count, h, w, 3), white for a class without an image.
    """
    out = np.full((count, *data.inputs.shape[1:]), 255, np.uint8)
    used = set()
    for label, members in enumerate(data.members):
        mine = rows[data.labels[rows] == label]
        for member in members:
            if member < count and len(mine) and label not in used:
                out[member] = data.inputs[mine[0]]
                used.add(label)
    return out
