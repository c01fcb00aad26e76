"""Draw one figure from its tables."""

import inspect

import pandas as pd

from soups.jobs.job import run
from soups.report import figures, style
from soups.report.words import Words
from soups.roles import Roles


def main(job) -> None:
    style.use()
    tables = {name: pd.read_csv(path) for name, path in job.input.items()}
    draw = figures.function(job.params.figure)
    # The published results come without a configuration, so their rows have the names of roles.
    settings = {**job.params.options, "roles": Roles.given(job.params.roles)}
    settings["words"] = Words.of(settings.get("words"))
    wanted = inspect.signature(draw).parameters
    settings = {name: value for name, value in settings.items() if name in wanted}
    filled = figures.drawable(draw, tables)
    if filled is None:
        figure = style.blank("There is nothing to draw.\nAll models of this figure are left out.")
    else:
        figure = draw(**filled, **settings)
    style.save(figure, job.output)


if __name__ == "__main__":
    run(main, snakemake)
