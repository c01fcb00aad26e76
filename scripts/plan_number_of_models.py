"""Plan soups and ensembles of the first n models, for every n, in several orders."""

from soups import files
from soups.jobs.job import run
from soups.mixing import plans
from soups.mixing.kitchen import Kitchen


def main(job) -> None:
    plan = plans.number_of_models(Kitchen.of_job(job), **job.params.orders)
    files.write_json(job.output[0], plan)


if __name__ == "__main__":
    run(main, snakemake)
