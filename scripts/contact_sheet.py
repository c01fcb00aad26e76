"""Plot one example of every class in every set. Renditions get one column per style."""

import numpy as np

from soups.data import examples
from soups.data.images import PreparedSet
from soups.jobs.job import run
from soups.report import presentation, style
from soups.report.figures.sheet import contact_sheet

ROWS = 24  # largest number of classes in the figure


def main(job) -> None:
    style.use()
    classes = PreparedSet(job.input.train).classes[:ROWS]
    columns = {}
    for data in map(PreparedSet, job.input.sets):
        rows_of = {"": np.arange(len(data.labels))}
        if job.params.by_style:
            rows_of = examples.by_style(data)
        for name, rows in rows_of.items():
            title = presentation.shift_label(data.name) + (f": {name}" if name else "")
            columns[title] = examples.first_of_classes(data, rows, len(classes))
    style.save(contact_sheet(columns, classes), job.output)


if __name__ == "__main__":
    run(main, snakemake)
