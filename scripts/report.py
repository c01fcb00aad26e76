"""The report page: the run's tables and figures with their captions, in one file."""

from pathlib import Path

import pandas as pd

from soups import files
from soups.jobs import runs
from soups.jobs.job import run
from soups.outcomes import MARGIN
from soups.report import page
from soups.report.words import Words
from soups.roles import Roles


def main(job) -> None:
    folder = Path(job.output[0]).parent
    # The plan is not an input, because its date changes in every run and would remake the page.
    plan = folder / runs.PLAN
    figures = job.params.figures
    tables = {name: path for name, path in job.input.items() if str(path).endswith(".csv")}
    html = page.render(
        Path(job.input.template).read_text(encoding="utf-8"),
        name=job.params.name,
        folder=str(folder),
        run=files.read_json(plan) if plan.is_file() else {},
        tables={name: pd.read_csv(path) for name, path in tables.items()},
        figures=page.pictures(zip(figures, figures.values(), job.input.figures, strict=True)),
        roles=Roles(job.params.roles),
        soup=page.Soup.read(job.input.recipe, job.params.weights),
        config=job.config,
        margin=MARGIN,
        words=Words.of(job.params.get("words")),
    )
    files.write_text(job.output[0], html)


if __name__ == "__main__":
    run(main, snakemake)
