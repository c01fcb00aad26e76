"""Plan soups of parts of the sweep, such as models that differ in one hyperparameter only."""

from soups import files
from soups.jobs.job import run
from soups.mixing import plans
from soups.mixing.kitchen import Kitchen


def main(job) -> None:
    files.write_json(job.output[0], plans.slices(Kitchen.of_job(job), job.params.slices))


if __name__ == "__main__":
    run(main, snakemake)
