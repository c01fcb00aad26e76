"""Plan soups of models fine-tuned on different tasks, for every number of tasks."""

from soups import files
from soups.jobs.job import run
from soups.mixing import plans


def main(job) -> None:
    files.write_json(job.output[0], plans.tasks(job.params.tasks, job.params.start[0]))


if __name__ == "__main__":
    run(main, snakemake)
