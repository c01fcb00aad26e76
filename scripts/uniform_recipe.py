"""The uniform soup: every ingredient, equal coefficients."""

from soups import files, recipes
from soups.job import run


def main(job) -> None:
    files.write_json(job.output[0], recipes.uniform(job.params.models))


if __name__ == "__main__":
    run(main, snakemake)
