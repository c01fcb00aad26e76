"""Draw one figure from its tables."""

import pandas as pd

from soups.jobs.job import run
from soups.report import figures, style


def main(job) -> None:
    style.use()
    tables = {name: pd.read_csv(path) for name, path in job.input.items()}
    figure = getattr(figures, job.params.figure)(**tables, **job.params.options)
    style.save(figure, job.output)


if __name__ == "__main__":
    run(main, snakemake)
