"""Plot one example of every class in every set. Renditions get one column per style."""

import numpy as np

from soups.data.images import PreparedSet
from soups.jobs.job import run
from soups.report import presentation, style
from soups.report.figures.sheet import contact_sheet

ROWS = 24  # largest number of classes in the figure


def main(job) -> None:
    style.use()
    classes = PreparedSet(job.input.train).classes[:ROWS]
    columns = {}
    for path in job.input.sets:
        data = PreparedSet(path)
        styles = np.zeros(len(data.labels), int), [""]
        if job.params.by_style:
            names, index = np.unique(
                [p.split("/")[0] for p in data.meta["paths"]], return_inverse=True
            )
            styles = index, names
        for s, name in enumerate(styles[1]):
            several = len(styles[1]) > 1
            title = presentation.shift_label(data.name) + (f": {name}" if several else "")
            columns[title] = _examples(data, np.flatnonzero(styles[0] == s), len(classes))
    style.save(contact_sheet(columns, classes), job.output)


def _examples(data: PreparedSet, rows: np.ndarray, count: int) -> np.ndarray:
    """Return the first image of each training class among ``rows``, or white if there is none."""
    out = np.full((count, *data.images.shape[1:]), 255, np.uint8)
    used = set()
    for label, members in enumerate(data.members):
        mine = rows[data.labels[rows] == label]
        for member in members:
            if member < count and len(mine) and label not in used:
                out[member] = data.images[mine[0]]
                used.add(label)
    return out


if __name__ == "__main__":
    run(main, snakemake)
