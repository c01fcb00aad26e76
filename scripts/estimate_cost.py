"""Estimate the cost of an experiment from speeds of this machine, as a table and as text."""

import tempfile
from pathlib import Path

import pandas as pd

from soups import files
from soups.cost import counts, estimate
from soups.cost.measurement import Samples, measure
from soups.cost.notes import notes
from soups.jobs import devices
from soups.jobs.job import run
from soups.report import presentation


def main(job) -> None:
    params = job.params
    classes = counts.class_names(params.data)
    images, corpus = counts.image_counts(params.data, classes, params.corpus)
    plan = counts.completed(params, classes, corpus, job.threads)
    with tempfile.TemporaryDirectory() as folder:
        samples = Samples.of(params, classes, Path(folder))
        stages = estimate.work(plan, samples.sizes(images))
        measured = measure(params, samples, estimate.needed(stages), job.threads)
    table = estimate.table(stages, measured.seconds, measured.start, devices.kind())
    files.write_text(job.output.table, pd.DataFrame(table).to_csv(index=False))
    lines = [presentation.text(*estimate.cells(table)), "", *notes(params, measured)]
    files.write_text(job.output.text, "\n".join(lines) + "\n")


if __name__ == "__main__":
    run(main, snakemake)
