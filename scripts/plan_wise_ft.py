"""Plan the recipes of lines from the start of fine-tuning to models and soups, and beyond."""

from soups import files
from soups.jobs.job import run
from soups.mixing import plans
from soups.mixing.kitchen import Kitchen


def main(job) -> None:
    p = job.params
    files.write_json(job.output[0], plans.wise_ft(Kitchen.of_job(job), p.ends, p.soups, p.alphas))


if __name__ == "__main__":
    run(main, snakemake)
