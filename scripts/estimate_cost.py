"""Estimate the cost of an experiment from speeds of this machine, as a table and as text."""

import tempfile
from pathlib import Path

import pandas as pd

from soups import files, problems
from soups.cost import counts, estimate
from soups.cost.measurement import Samples, measure
from soups.cost.notes import notes
from soups.jobs import devices
from soups.jobs.job import run
from soups.report import presentation


def main(job) -> None:
    params = job.params
    problem = problems.of_source(params.data["source"])
    classes = problem.class_names(params.data)
    numbers, corpus = counts.numbers(params.data, classes, params.corpus)
    plan = counts.completed(params, classes, corpus, job.threads)
    with tempfile.TemporaryDirectory() as folder:
        samples = Samples.of(params, classes, Path(folder))
        stages = estimate.work(plan, samples.sizes(numbers))
        measured = measure(params, samples, estimate.needed(stages), job.threads)
        more = samples.examples.notes
    speeds = measured.seconds, measured.start, devices.kind()
    table = estimate.table(stages, *speeds, problem.examples)
    files.write_text(job.output.table, pd.DataFrame(table).to_csv(index=False))
    shown = presentation.text(*estimate.cells(table, problem.examples))
    files.write_text(job.output.text, "\n".join([shown, "", *notes(params, measured, more)]) + "\n")


if __name__ == "__main__":
    run(main, snakemake)
