"""Plan the soups and ensembles that smaller held-out sets choose."""

from soups import files
from soups.jobs.job import run
from soups.mixing import heldout_size
from soups.mixing.kitchen import Kitchen


def main(job) -> None:
    p = job.params
    plan = heldout_size.plan(Kitchen.of_job(job), **p.sizes, learned=p.learned)
    files.write_json(job.output[0], plan)


if __name__ == "__main__":
    run(main, snakemake)
