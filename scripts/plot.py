"""Draw one figure from its tables."""

import pandas as pd

from soups import figures, style
from soups.job import run


def main(job) -> None:
    style.use()
    tables = {name: pd.read_csv(path) for name, path in job.input.items()}
    if job.params.figure == "greedy_trace":
        count = int(tables["methods"]["n_heldout"][0])
        figure = figures.greedy_trace(tables["trace"], count)
    else:
        draw = {"scatter": figures.scatter, "shifts": figures.shifts}[job.params.figure]
        figure = draw(tables["models"], tables["methods"])
    style.save(figure, job.output)


if __name__ == "__main__":
    run(main, snakemake)
