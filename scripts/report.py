"""The report page: the run's tables and figures with their captions, in one file."""

from pathlib import Path

import pandas as pd

from soups import files
from soups.claims.rules import expected_by_chance
from soups.jobs import runs
from soups.jobs.job import run
from soups.report import page
from soups.report.words import Words
from soups.roles import Roles


def main(job) -> None:
    folder, figures = Path(job.output[0]).parent, job.params.figures
    # The plan is not an input, because its date changes in every run and would remake the page.
    plan = folder / runs.PLAN
    paths = {name: path for name, path in job.input.items() if str(path).endswith(".csv")}
    tables = {name: pd.read_csv(path) for name, path in paths.items()}
    html = page.render(
        Path(job.input.template).read_text("utf-8"),
        name=job.params.name,
        folder=str(folder),
        run=files.read_json(plan) if plan.is_file() else {},
        tables=tables,
        figures=page.pictures(zip(figures, figures.values(), job.input.figures, strict=True)),
        roles=Roles(job.params.roles),
        soup=page.Soup.read(job.input.recipe, job.params.weights),
        config=job.config,
        by_chance=expected_by_chance(tables["effects"]),
        words=Words.of(job.params.get("words")),
    )
    files.write_text(job.output[0], html)


if __name__ == "__main__":
    run(main, snakemake)
